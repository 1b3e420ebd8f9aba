package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/test/env"
)

// phase is one process, or one step, of one run.
type phase struct {
	tool   string
	name   string
	counts bool // toward the tool's total
	wall   time.Duration
	cpu    time.Duration // user and system
	peakKB int64
}

func phaseOf(name string, counts bool, r *env.Result) phase {
	return phase{name: name, counts: counts, wall: r.Wall, cpu: r.User + r.System, peakKB: r.PeakKB}
}

func median[T cmp.Ordered](xs []T) T {
	s := slices.Sorted(slices.Values(xs))
	return s[len(s)/2]
}

func collect[T any](ps []phase, get func(phase) T) (out []T) {
	for _, p := range ps {
		out = append(out, get(p))
	}
	return out
}

// printTable prints a row for each phase, a total for each tool, and the ratios of Decant's total, as the tool self, to the others'.
func printTable(rs map[string][]phase, self string) {
	fmt.Println("| | wall s | min–max | CPU s | peak MiB |")
	fmt.Println("|---|---:|---:|---:|---:|")
	totals := map[string][]time.Duration{}
	cpus := map[string][]time.Duration{}
	for _, key := range slices.Sorted(maps.Keys(rs)) {
		ps := rs[key]
		walls := collect(ps, func(p phase) time.Duration { return p.wall })
		cpu := collect(ps, func(p phase) time.Duration { return p.cpu })
		row(key, walls, cpu, slices.Max(collect(ps, func(p phase) int64 { return p.peakKB })))
		for i, p := range ps {
			if len(totals[p.tool]) <= i {
				totals[p.tool] = append(totals[p.tool], 0)
				cpus[p.tool] = append(cpus[p.tool], 0)
			}
			if p.counts {
				totals[p.tool][i] += p.wall
			}
			if p.counts || !strings.HasPrefix(p.name, "again") {
				cpus[p.tool][i] += p.cpu
			}
		}
	}
	for _, tool := range slices.Sorted(maps.Keys(totals)) {
		row("**"+tool+" in all**", totals[tool], cpus[tool], 0)
	}
	ours, ok := totals[self]
	if !ok {
		return
	}
	fmt.Println()
	for _, tool := range slices.Sorted(maps.Keys(totals)) {
		if tool != self {
			fmt.Printf("- decant / %s: %.2f (wall), %.2f (CPU)\n", tool, median(ours).Seconds()/median(totals[tool]).Seconds(),
				median(cpus[self]).Seconds()/median(cpus[tool]).Seconds())
		}
	}
	if again := rs["decant again, unchanged"]; len(again) > 0 {
		first := median(collect(rs["decant send"], func(p phase) time.Duration { return p.wall }))
		fmt.Printf("- second send of the unchanged collection / first: %.3f\n",
			median(collect(again, func(p phase) time.Duration { return p.wall })).Seconds()/first.Seconds())
	}
}

func row(name string, walls, cpus []time.Duration, peakKB int64) {
	peak := ""
	if peakKB > 0 {
		peak = fmt.Sprintf("%.0f", float64(peakKB)/1024)
	}
	wall := "" // a server's life says nothing
	span := ""
	if !strings.HasSuffix(name, " server") && !strings.HasSuffix(name, " daemon") {
		wall = fmt.Sprintf("%.2f", median(walls).Seconds())
		span = fmt.Sprintf("%.2f–%.2f", slices.Min(walls).Seconds(), slices.Max(walls).Seconds())
	}
	fmt.Printf("| %s | %s | %s | %.2f | %s |\n", name, wall, span, median(cpus).Seconds(), peak)
}
