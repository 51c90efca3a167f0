package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints the rows as text.
func table(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "work\tours\tbeside\t\tratio\tgoal\tallocs\tbytes")
	for i, r := range rows {
		if i == 0 || rows[i-1].Group != r.Group {
			fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\n", r.Group)
		}
		goal := "-"
		if r.Goal != nil {
			goal = fmt.Sprintf("%.3g", *r.Goal)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%.3g\t%s\t%d\t%d\n",
			r.Work, nanoseconds(r.OursNS), r.Beside, nanoseconds(r.BesideNS), r.Ratio, goal, r.OursAllocs, r.OursBytes)
		for _, p := range r.peers {
			fmt.Fprintf(w, "\t\t%s\t%s\t%.3g\t\t%d\t%d\n",
				p.who, nanoseconds(p.ns), p.ratio, p.allocs, p.bytes)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if len(r.notes) > 0 {
			fmt.Fprintf(out, "%s: %s\n", r.Work, strings.Join(r.notes, ", "))
		}
	}
	for _, r := range rows {
		for _, miss := range r.misses {
			fmt.Fprintf(out, "missed: %s: %s\n", r.Work, miss)
		}
	}
	return nil
}

// nanoseconds returns a time in a convenient unit.
func nanoseconds(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g us", ns/1e3)
	}
	return fmt.Sprintf("%.3g ns", ns)
}
