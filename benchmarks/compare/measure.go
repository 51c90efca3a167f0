package main

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

// row is one line of the table.
type row struct {
	Group      string   `json:"group"`
	Work       string   `json:"work"`
	OursNS     float64  `json:"ours_ns"`
	Beside     string   `json:"beside"`
	BesideNS   float64  `json:"beside_ns"`
	Ratio      float64  `json:"ratio"`
	Goal       *float64 `json:"goal"` // null if there is none
	OursAllocs int64    `json:"ours_allocs"`
	OursBytes  int64    `json:"ours_bytes"`

	peers  []peer
	notes  []string // other metrics that were measured
	misses []string // the goals that were missed
}

// peer is another library's result.
type peer struct {
	who    string
	ns     float64
	ratio  float64 // our result divided by theirs
	allocs int64
	bytes  int64
}

// result is the result of one run of one benchmark.
type result struct {
	ns     float64
	allocs int64
	bytes  int64
	extra  map[string]float64
}

// pair is our result and that of another library in one round.
type pair struct {
	ours, theirs result
	ratio        float64
}

// measure runs a work in rounds, ours and the others in turns.
func measure(w work.Work, opts options) (row, error) {
	rounds, benchtime := opts.rounds, opts.benchtime.String()
	if w.Heavy {
		rounds, benchtime = min(rounds, 3), "1x"
	}
	if err := flag.Set("test.benchtime", benchtime); err != nil {
		return row{}, err
	}
	beside := w.Beside
	if !opts.peers {
		beside = beside[:1]
	}
	runs := []func(*testing.B){w.Ours}
	for _, p := range beside {
		runs = append(runs, p.Run)
	}
	results := make([][]result, rounds)
	for i := range results {
		results[i] = make([]result, len(runs))
		order := indexes(len(runs))
		if i%2 == 1 {
			slices.Reverse(order) // so that none of them always follows another
		}
		for _, k := range order {
			r, err := once(runs[k])
			if err != nil {
				return row{}, fmt.Errorf("%s: %w", w.Name, err)
			}
			results[i][k] = r
		}
	}
	r := assess(w, median(w, results, 1))
	for i, p := range beside[1:] {
		m := median(w, results, i+2)
		r.peers = append(r.peers, peer{p.Who, m.theirs.ns, m.ratio, m.theirs.allocs, m.theirs.bytes})
	}
	return r, nil
}

func indexes(n int) []int {
	is := make([]int, n)
	for i := range is {
		is[i] = i
	}
	return is
}

// once runs a benchmark.
func once(run func(*testing.B)) (result, error) {
	r := testing.Benchmark(run)
	if r.N == 0 {
		return result{}, fmt.Errorf("a benchmark failed; go test -bench says why")
	}
	each := 1.0
	if n, ok := r.Extra[work.Each]; ok {
		each = n
	}
	n := float64(r.N) * each
	res := result{
		ns:     float64(r.T.Nanoseconds()) / n,
		allocs: int64(float64(r.MemAllocs) / n),
		bytes:  int64(float64(r.MemBytes) / n),
		extra:  r.Extra,
	}
	if kept, ok := r.Extra[work.EachBytes]; ok {
		res.bytes = int64(math.Round(kept))
	}
	return res, nil
}

// median returns the round in which the ratio of ours to the k-th is the
// median.
func median(w work.Work, results [][]result, k int) pair {
	pairs := make([]pair, len(results))
	for i, r := range results {
		pairs[i] = pair{r[0], r[k], ratio(w, r[0], r[k])}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.ratio, b.ratio) })
	return pairs[len(pairs)/2]
}

// ratio returns our result divided by theirs: of times or, for a work measured
// in bytes, of bytes. If theirs is 0 bytes, it returns our bytes.
func ratio(w work.Work, ours, theirs result) float64 {
	if !w.Bytes {
		return ours.ns / theirs.ns
	}
	return float64(ours.bytes) / max(float64(theirs.bytes), 1)
}

// assess makes the row of a work's median round.
func assess(w work.Work, p pair) row {
	r := row{
		Group:      w.Group,
		Work:       w.Name,
		OursNS:     round(p.ours.ns),
		Beside:     w.Beside[0].Who,
		BesideNS:   round(p.theirs.ns),
		Ratio:      round(p.ratio),
		OursAllocs: p.ours.allocs,
		OursBytes:  p.ours.bytes,
	}
	switch {
	case w.Bytes:
		goal := round(w.Limits[0].Max / max(float64(p.theirs.bytes), 1))
		r.Goal = &goal
		r.Beside = fmt.Sprintf("%s, %d B", r.Beside, p.theirs.bytes)
	case w.Goal > 0:
		r.Goal = &w.Goal
	}
	if r.Goal != nil && r.Ratio > *r.Goal {
		r.misses = append(r.misses, fmt.Sprintf("%.3g of %s, the goal is %.3g", r.Ratio, r.Beside, *r.Goal))
	}
	for _, l := range w.Limits {
		v, extra := p.ours.metric(l.Metric)
		if v > l.Max {
			r.misses = append(r.misses, fmt.Sprintf("%g %s, the goal is %g", v, l.Metric, l.Max))
		}
		if extra {
			r.notes = append(r.notes, fmt.Sprintf("%g %s", v, l.Metric))
		}
	}
	return r
}

// metric returns the metric with the name that limits use.
func (r result) metric(name string) (v float64, extra bool) {
	switch name {
	case work.Allocs:
		return float64(r.allocs), false
	case work.AllocBytes:
		return float64(r.bytes), false
	}
	return math.Round(r.extra[name]), true
}

// round keeps four digits, which is more than the precision of the machine.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-3)
	return math.Round(v/unit) * unit
}
