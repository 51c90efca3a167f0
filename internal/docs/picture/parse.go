package main

import (
	"fmt"
	"strings"
)

// A picture consists of boxes on a grid, and arrows between them.
type picture struct {
	title  string
	boxes  map[string]box
	order  []string // names of the boxes
	arrows []arrow
}

type box struct {
	column, row int
	state       string
	name, what  string
}

type arrow struct {
	kind     string
	from, to box
	label    string
}

func parse(text string) (*picture, error) {
	p := &picture{boxes: make(map[string]box)}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.title == "" {
		return nil, fmt.Errorf("no title")
	}
	return p, nil
}

// add reads one line.
func (p *picture) add(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "title":
		p.title = rest
	case "box":
		var b box
		var name string
		if _, err := fmt.Sscanf(rest, "%s %d %d %s %q %q", &name, &b.column, &b.row, &b.state, &b.name, &b.what); err != nil {
			return err
		}
		if fills[b.state] == "" {
			return fmt.Errorf("no state %q", b.state)
		}
		p.boxes[name] = b
		p.order = append(p.order, name)
	case "passes", "cancel", "outcome":
		a := arrow{kind: kind}
		var from, to string
		if _, err := fmt.Sscanf(rest, "%s %s %q", &from, &to, &a.label); err != nil && kind != "passes" {
			return err
		}
		for name, b := range map[string]*box{from: &a.from, to: &a.to} {
			known, ok := p.boxes[name]
			if !ok {
				return fmt.Errorf("no box %q", name)
			}
			*b = known
		}
		p.arrows = append(p.arrows, a)
	default:
		return fmt.Errorf("no such thing as %q", kind)
	}
	return nil
}
