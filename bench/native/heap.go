// The yardstick of bench/go.ts: what Go's own heap takes for the same. Prints one number a line, in nanoseconds:
//
//	heap allocate BYTES COUNT  of a new object of 16, 32 or 64 bytes with one pointer, no collection in the clock
//	heap collect NODES         of a collection of so many linked nodes of 64 bytes, with GOMAXPROCS=1
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

type small struct {
	next *small
	data [1]uint64
}

type medium struct {
	next *medium
	data [3]uint64
}

type node struct {
	next *node
	data [7]uint64
}

// Objects are stored here, or the compiler would not make them at all.
var (
	smallSink  *small
	mediumSink *medium
	nodeSink   *node
)

func allocate(bytes, count int) {
	switch bytes {
	case 16:
		for i := 0; i < count; i++ {
			smallSink = &small{}
		}
	case 32:
		for i := 0; i < count; i++ {
			mediumSink = &medium{}
		}
	case 64:
		for i := 0; i < count; i++ {
			nodeSink = &node{}
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	switch os.Args[1] {
	case "allocate":
		bytes, _ := strconv.Atoi(os.Args[2])
		count, _ := strconv.Atoi(os.Args[3])
		for round := 0; round < 10; round++ {
			runtime.GC() // also sweeps
			start := time.Now()
			allocate(bytes, count)
			fmt.Println(float64(time.Since(start).Nanoseconds()) / float64(count))
		}
	case "collect":
		nodes, _ := strconv.Atoi(os.Args[2])
		for i := 0; i < nodes; i++ {
			nodeSink = &node{next: nodeSink}
		}
		for round := 0; round < 10; round++ {
			start := time.Now()
			runtime.GC()
			fmt.Println(float64(time.Since(start).Nanoseconds()))
		}
		runtime.KeepAlive(nodeSink)
	}
}
