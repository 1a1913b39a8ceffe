// Plays the programs of mem-stats.json on Go's own heap, and prints what runtime.MemStats says of each. See scripts/go-mem-stats.mjs.
package main

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"
)

type Step struct {
	Do    string
	Sizes []int
	Count int
}

type Program struct {
	Name  string
	Steps []Step
}

// What has changed since the program began.
type Figures struct {
	Mallocs, Frees, TotalAlloc, Alloc, HeapAlloc, HeapObjects, HeapInuse uint64
	NumGC, NumForcedGC                                                   uint32
	Retained                                                             uint64               // HeapSys without HeapReleased
	GoalMiB                                                              uint64               // NextGC as it is now, in whole MiB: stacks are in it
	BySize                                                               map[uint32][2]uint64 // mallocs and frees
}

var held = make([]unsafe.Pointer, 0, 1<<12)

func bytes(size int) unsafe.Pointer {
	made := make([]byte, size)
	return unsafe.Pointer(&made[0])
}

func pointers(size int) unsafe.Pointer {
	made := make([]*byte, size/8)
	return unsafe.Pointer(&made[0])
}

// Makes so many objects of each size.
func makeAll(object func(int) unsafe.Pointer, step Step) {
	for _, size := range step.Sizes {
		for i := 0; i < step.Count; i++ {
			held = append(held, object(size))
		}
	}
}

// Keeps every count-th of what is held, and the last.
func keep(count int) {
	kept := 0
	for i := range held {
		if (len(held)-1-i)%count == 0 {
			held[kept] = held[i]
			kept++
		}
	}
	for i := kept; i < len(held); i++ {
		held[i] = nil
	}
	held = held[:kept]
}

func since(before, now *runtime.MemStats) Figures {
	figures := Figures{
		Mallocs:     now.Mallocs - before.Mallocs,
		Frees:       now.Frees - before.Frees,
		TotalAlloc:  now.TotalAlloc - before.TotalAlloc,
		Alloc:       now.Alloc - before.Alloc,
		HeapAlloc:   now.HeapAlloc - before.HeapAlloc,
		HeapObjects: now.HeapObjects - before.HeapObjects,
		NumGC:       now.NumGC - before.NumGC,
		NumForcedGC: now.NumForcedGC - before.NumForcedGC,
		HeapInuse:   now.HeapInuse - before.HeapInuse,
		Retained:    now.HeapSys - now.HeapReleased - (before.HeapSys - before.HeapReleased),
		GoalMiB:     now.NextGC >> 20,
		BySize:      map[uint32][2]uint64{},
	}
	for i, size := range now.BySize {
		mallocs, frees := size.Mallocs-before.BySize[i].Mallocs, size.Frees-before.BySize[i].Frees
		if mallocs != 0 || frees != 0 {
			figures.BySize[size.Size] = [2]uint64{mallocs, frees}
		}
	}
	return figures
}

func play(program Program, reads []runtime.MemStats) []Figures {
	debug.SetGCPercent(-1)
	for i := range held {
		held[i] = nil
	}
	held = held[:0]
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&reads[0])
	read := 1
	for _, step := range program.Steps {
		switch step.Do {
		case "bytes":
			makeAll(bytes, step)
		case "pointers":
			makeAll(pointers, step)
		case "keep":
			keep(step.Count)
		case "percent":
			debug.SetGCPercent(step.Count)
		case "collect":
			runtime.GC()
		case "read":
			runtime.ReadMemStats(&reads[read])
			read++
		}
	}
	figures := []Figures{}
	for i := 1; i < read; i++ {
		figures = append(figures, since(&reads[0], &reads[i]))
	}
	return figures
}

func main() {
	runtime.GOMAXPROCS(1)
	runtime.MemProfileRate = 0
	var programs []Program
	if err := json.NewDecoder(os.Stdin).Decode(&programs); err != nil {
		panic(err)
	}
	reads := make([]runtime.MemStats, 8)
	figures := [][]Figures{}
	for _, program := range programs {
		figures = append(figures, play(program, reads))
	}
	output := map[string]any{"go": runtime.Version(), "figures": figures}
	if err := json.NewEncoder(os.Stdout).Encode(output); err != nil {
		panic(err)
	}
}
