package store

import (
	"encoding/binary"
	"fmt"
)

// Periodic is what a file holds of a periodic job.
type Periodic struct {
	Name string
	Text string // its schedule
	Seq  int64  // number of the last change of the row
	Last int64  // the times up to this one are over; milliseconds since 1970
	Job  int64  // of the latest run, 0 if there was none
}

// sum is the checksum over all fields.
func (p *Periodic) sum() int64 {
	var b []byte
	for _, n := range [...]int64{p.Seq, p.Last, p.Job, int64(len(p.Text))} {
		b = binary.AppendVarint(b, n)
	}
	return dataSum(0, p.Name, append(b, p.Text...))
}

func scanPeriodic(r row) (p Periodic, err error) {
	name, isName := r.text(0)
	text, isText := r.text(1)
	p = Periodic{Name: name, Text: text}
	good := isName && isText
	for i, n := range []*int64{&p.Seq, &p.Last, &p.Job} {
		v, ok := r.int(2 + i)
		*n, good = v, good && ok
	}
	if sum, ok := r.int(5); !good || !ok || sum != p.sum() {
		return p, fmt.Errorf("%w: periodic job %q", ErrDamaged, name)
	}
	return p, nil
}

// Periodic returns a periodic job. The error is ErrNoJob if there is none.
func (tx *Tx) Periodic(name string) (p Periodic, err error) {
	damage := fmt.Errorf("%w: periodic job %q", ErrNoJob, name)
	err = tx.s.db.each(stmtPeriodic, func(r row) bool {
		p, damage = scanPeriodic(r)
		return false
	}, data([]byte(name)))
	if err == nil {
		err = damage
	}
	return p, err
}

// SetPeriodic numbers the change and writes a periodic job.
func (tx *Tx) SetPeriodic(p *Periodic) error {
	tx.meta.seq++
	p.Seq = tx.meta.seq
	_, err := tx.change(stmtSetPeriodic, data([]byte(p.Name)), blob(p.Text), num(p.Seq), num(p.Last), num(p.Job), num(p.sum()))
	return err
}

// UnsetPeriodic deletes a periodic job, and reports whether there was one.
func (tx *Tx) UnsetPeriodic(name string) (found bool, err error) {
	n, err := tx.change(stmtUnsetPeriodic, data([]byte(name)))
	return n > 0, err
}

// Periodics returns the periodic jobs in the order of their names, without
// damaged ones.
func (tx *Tx) Periodics() ([]Periodic, []Damage, error) { return tx.s.Periodics() }

// Periodics is that of a transaction. It must be called before Start.
func (s *Store) Periodics() (all []Periodic, damaged []Damage, err error) {
	err = s.db.each(stmtPeriodics, func(r row) bool {
		if p, err := scanPeriodic(r); err != nil {
			damaged = append(damaged, Damage{0, err})
		} else {
			all = append(all, p)
		}
		return true
	})
	if code(err) == codeCorrupt {
		damaged = append(damaged, Damage{0, fmt.Errorf("%w: periodic jobs: %w", ErrDamaged, err)})
		err = nil
	}
	return all, damaged, err
}
