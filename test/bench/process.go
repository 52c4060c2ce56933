package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of /proc/PID/stat on Linux.
const tick = 10 * time.Millisecond

// stat is what /proc says about a process: its parent, its own time and that of children which have ended.
type stat struct {
	parent   int
	own      time.Duration
	children time.Duration
}

func readStat(pid string) (stat, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return stat{}, false
	}
	_, rest, ok := bytes.Cut(text, []byte(") ")) // the name before it may hold blanks
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 15 {
		return stat{}, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(string(fields[i]))
		return n
	}
	return stat{
		parent:   number(1),
		own:      time.Duration(number(11)+number(12)) * tick,
		children: time.Duration(number(13)+number(14)) * tick,
	}, true
}

// processTime is the time that a process itself has spent on the processor.
func processTime(pid int) time.Duration {
	s, _ := readStat(fmt.Sprint(pid))
	return s.own
}

// treeTime is the time of a process and all its children, those included that have ended.
func treeTime(pid int) time.Duration {
	root, _ := readStat(fmt.Sprint(pid))
	total := root.own + root.children
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		if s, ok := readStat(filepath.Base(entry)); ok && s.parent == pid {
			total += s.own + s.children
		}
	}
	return total
}

// processMemory is a line of /proc/PID/status about the memory of a process, in MiB.
func processMemory(pid int, line string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var kib float64
	if _, rest, ok := bytes.Cut(text, []byte(line)); ok {
		_, _ = fmt.Sscan(string(rest), &kib)
	}
	return kib / 1024
}
