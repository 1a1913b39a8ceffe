// Go's own heap for the suite `collector`: what bench/trees.ts describes, with the same random numbers, and new objects
// by themselves. Prints a row's values as JSON.
//
//	collector forest ROW TREES OPERATIONS PROCS  trees that are replaced, on so many processors; 0: all there are
//	collector objects ROW BYTES COUNT            of a new object of 16, 32 or 64 bytes with one pointer, no collection
//	                                             in the clock, on one processor
package main

import (
	"encoding/json"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	treeNodes = 32
	// Looks at memory, behind the clock.
	looks = 16
	// Rounds of new objects, of which the best counts.
	rounds = 5
	// Whole collections at the end, of which the best counts.
	collections = 3
)

type node struct {
	left, right *node
	value       uint64
}

var (
	// One place more, for the tree that is dropped.
	table  []*node
	made   [treeNodes]*node
	serial uint64
	seed   uint32 = 1
	began         = time.Now()
)

func random(below int) int {
	seed ^= seed << 13
	seed ^= seed >> 17
	seed ^= seed << 5
	return int(seed % uint32(below))
}

func plant(place int) {
	for at := 0; at < treeNodes; at++ {
		made[at] = &node{value: serial}
		serial++
		switch {
		case at == 0:
			table[place] = made[at]
		case at&1 == 1:
			made[(at-1)>>1].left = made[at]
		default:
			made[(at-1)>>1].right = made[at]
		}
	}
}

func operate(trees int) {
	plant(trees)
	plant(random(trees))
	one := table[random(trees)]
	other := table[random(trees)]
	one.left, other.left = other.left, one.left
}

func walk(of *node, nodes *int, checksum *uint32) {
	if of == nil {
		return
	}
	*nodes++
	*checksum += uint32(of.value)
	walk(of.left, nodes, checksum)
	walk(of.right, nodes, checksum)
}

// Anonymous resident bytes of the process.
func resident() float64 {
	text, _ := os.ReadFile("/proc/self/smaps_rollup")
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Anonymous:" {
			kilobytes, _ := strconv.ParseFloat(fields[1], 64)
			return kilobytes * 1024
		}
	}
	return 0
}

// What cycles took of the processors up to the end of the last one. Sweeping isn't in it.
func collectorMs(procs int) float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	until := time.Unix(0, int64(stats.LastGC)).Sub(began)
	return math.Max(0, stats.GCCPUFraction*float64(procs)*float64(until)/1e6)
}

// Counts of what took from one half power of two of microseconds to the next, by where that begins.
func histogram(sorted []float64) [][2]float64 {
	counts := [][2]float64{}
	for _, ns := range sorted {
		from := math.Pow(2, math.Floor(2*math.Log2(ns/1000))/2)
		if len(counts) == 0 || counts[len(counts)-1][0] != from {
			counts = append(counts, [2]float64{from, 0})
		}
		counts[len(counts)-1][1]++
	}
	return counts
}

func forest(trees, operations, procs int) (map[string]interface{}, map[string]interface{}) {
	if procs > 0 {
		runtime.GOMAXPROCS(procs)
	}
	procs = runtime.GOMAXPROCS(0)
	times := make([]float64, operations)
	for at := range times {
		times[at] = 1
	}
	before := resident()
	table = make([]*node, trees+1)
	for place := 0; place <= trees; place++ {
		plant(place)
	}
	warmUps := operations / 8
	for at := 0; at < warmUps; at++ {
		operate(trees)
	}
	spent := collectorMs(procs)
	total, peak := 0.0, 0.0
	every := (operations + looks - 1) / looks
	for at := 0; at < operations; at++ {
		start := time.Now()
		operate(trees)
		times[at] = float64(time.Since(start).Nanoseconds())
		total += times[at]
		if (at+1)%every == 0 {
			peak = math.Max(peak, resident()-before)
		}
	}
	spent = collectorMs(procs) - spent
	nodes, checksum := 0, uint32(0)
	for place := 0; place < trees; place++ {
		walk(table[place], &nodes, &checksum)
	}
	whole := math.Inf(1)
	for round := 0; round < collections; round++ {
		start := time.Now()
		runtime.GC()
		whole = math.Min(whole, float64(time.Since(start).Nanoseconds()))
	}
	runtime.KeepAlive(table)
	sort.Float64s(times)
	at := func(share float64) float64 { return times[int(math.Ceil(float64(operations)*share))-1] }
	values := map[string]interface{}{
		"nsPerNode":        total / float64(operations*2*treeNodes),
		"medianNs":         at(0.5),
		"p99Ns":            at(0.99),
		"p999Ns":           at(0.999),
		"longestNs":        at(1),
		"collectorMs":      spent,
		"wholeMs":          whole / 1e6,
		"residentOverLive": peak / float64(nodes*24),
		"nodes":            nodes,
		"checksum":         checksum,
	}
	return values, map[string]interface{}{"operations": histogram(times)}
}

type object16 struct {
	next *object16
	data [1]uint64
}

type object32 struct {
	next *object32
	data [3]uint64
}

type object64 struct {
	next *object64
	data [7]uint64
}

// Objects are stored here, or the compiler would not make them at all.
var (
	sink16 *object16
	sink32 *object32
	sink64 *object64
)

func allocate(bytes, count int) {
	switch bytes {
	case 16:
		for i := 0; i < count; i++ {
			sink16 = &object16{}
		}
	case 32:
		for i := 0; i < count; i++ {
			sink32 = &object32{}
		}
	case 64:
		for i := 0; i < count; i++ {
			sink64 = &object64{}
		}
	}
}

func objects(bytes, count int) map[string]interface{} {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	best := math.Inf(1)
	for round := 0; round < rounds; round++ {
		runtime.GC() // also sweeps
		start := time.Now()
		allocate(bytes, count)
		best = math.Min(best, float64(time.Since(start).Nanoseconds()))
	}
	return map[string]interface{}{"nsPerObject": best / float64(count)}
}

func main() {
	if len(os.Args) < 5 {
		os.Stderr.WriteString("usage: collector forest ROW TREES OPERATIONS PROCS | objects ROW BYTES COUNT\n")
		os.Exit(2)
	}
	debug.SetGCPercent(100)
	number := func(at int) int {
		value, _ := strconv.Atoi(os.Args[at])
		return value
	}
	row := map[string]interface{}{"row": os.Args[2]}
	if os.Args[1] == "objects" {
		row["values"] = objects(number(3), number(4))
	} else {
		row["values"], row["series"] = forest(number(3), number(4), number(5))
	}
	json.NewEncoder(os.Stdout).Encode([]interface{}{row})
}
