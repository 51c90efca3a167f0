package work

import (
	"fmt"
	"testing"
)

const dispatch = "dispatch"

// Dispatch returns the table of job queues and priority queues.
func Dispatch() []Work {
	table := []Work{{
		Group: dispatch, Name: "submit + run, no result",
		Ours: twillSubmit,
		Beside: []Peer{
			{"pond Pool", pondSubmit},
			{"gopool", gopoolSubmit},
			{"conc pool", concSubmit},
			{"errgroup", errgroupSubmit},
			{"ants", antsSubmit},
			{"gammazero", gammazeroSubmit},
		},
		Goal: 1.8,
	}}
	for _, width := range []int{1, 2, 8, 100} {
		table = append(table, Work{
			Group: dispatch, Name: fmt.Sprintf("put to settled job, width %d", width),
			Ours: twillJobs(width),
			Beside: []Peer{
				{"pond ResultPool", pondJobs(width)},
				{"pond ResultGroup", pondGroups(width)},
				{"ants + chan", antsJobs(width)},
			},
			Goal: 0.75,
		})
	}
	table = append(table,
		Work{
			Group: dispatch, Name: "round trip submit -> result",
			Ours: twillRoundTrip,
			Beside: []Peer{
				{"pond ResultPool", pondRoundTrip},
				{"ants + chan", antsRoundTrip},
				{"gammazero + chan", gammazeroRoundTrip},
			},
			Goal: 0.75,
		},
		Work{
			Group: dispatch, Name: "1M pending: bytes each, with future",
			Ours:   twillBacklog,
			Beside: []Peer{{"pond ResultPool", pondBacklog}},
			Bytes:  true, Heavy: true,
			Limits: []Limit{{EachBytes, 200}, {DrainedBytes, 0}},
		},
		Work{
			Group: dispatch, Name: "1M pending in 100k groups of limit 1: put + run",
			Ours:   inGroups,
			Beside: []Peer{{"twill without groups", withoutGroups}},
			Heavy:  true,
			Goal:   2,
		},
		Work{
			Group: dispatch, Name: "1M pending in one group: put + run",
			Ours:   inOneGroup,
			Beside: []Peer{{"twill without groups", withoutGroups}},
			Heavy:  true,
			Goal:   2,
		},
		Work{
			Group: dispatch, Name: "grow 1 -> 100 under load, until 100 run",
			Ours: twillGrow,
			Beside: []Peer{
				{"pond Pool", pondGrow},
				{"ants", antsGrow},
			},
		},
	)
	return append(table, priorities()...)
}

// priorities returns the rows of priority queues with 1M values.
func priorities() (table []Work) {
	for _, spread := range []struct {
		name   string
		levels int
	}{{"8 levels", 8}, {"random priorities", 1 << 30}} {
		row := func(what string, ours, std func(b *testing.B)) {
			table = append(table, Work{
				Group: dispatch, Name: "1M by priority, " + spread.name + ": " + what,
				Ours:   ours,
				Beside: []Peer{{"container/heap", std}},
				Heavy:  true,
			})
		}
		row("pop + push",
			prioritized(newTwillQueue, spread.levels, popPush), prioritized(newStdQueue, spread.levels, popPush))
		row("fill + drain",
			prioritized(newTwillQueue, spread.levels, fillDrain), prioritized(newStdQueue, spread.levels, fillDrain))
		row("cancel 10k",
			prioritized(newTwillQueue, spread.levels, cancel), prioritized(newStdQueue, spread.levels, cancel))
	}
	return table
}
