package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/twillgo/twill/durable/internal/steer"
)

// An export begins and ends with a line of its own, so that one that was cut is
// noticed. Between them is a line for each job. An import takes jobs without
// these lines as well.
type exportLine struct {
	Begin *exportBegin `json:"export,omitempty"`
	End   *exportEnd   `json:"end,omitempty"`
	steer.Job
}

type exportBegin struct {
	Version int    `json:"version"`
	File    string `json:"file"`
}

type exportEnd struct {
	Jobs int64 `json:"jobs"`
}

// How much is imported in one transaction.
const (
	importJobs  = 512
	importBytes = 4 << 20
)

// importJobs is the command import.
func (c *command) importJobs(ctx context.Context, q steer.Doer, p *printer, stdin io.Reader) error {
	if len(c.args) > 0 && c.args[0] != "-" {
		f, err := os.Open(c.args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		stdin = f
	}
	in := bufio.NewReaderSize(stdin, 64<<10)
	var jobs []steer.Job
	size := 0
	flush := func() error {
		if len(jobs) == 0 {
			return nil
		}
		req := c.req
		req.Jobs = jobs
		err := q.Do(ctx, &req, p.reply)
		p.reached(fmt.Sprintf("line %s", group(int64(jobs[len(jobs)-1].Line))))
		jobs, size = nil, 0
		return err
	}
	begun, ended, count, empty := false, false, int64(0), true
	for n := 1; ; n++ {
		text, err := readLine(ctx, in)
		if err != nil && err != io.EOF {
			return err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			empty = false
			line, bad := parseLine(text)
			switch {
			case bad != nil:
				p.outcome(&steer.Outcome{Line: n, Outcome: steer.Failed, Reason: bad.Error()})
			case line.Begin != nil:
				begun, ended, count = true, false, 0
			case line.End != nil:
				ended = true
				if begun && line.End.Jobs != count {
					p.fail(fmt.Errorf("the export had %d jobs, and %d were read", line.End.Jobs, count))
				}
			default:
				count++
				line.Job.Line = n
				jobs = append(jobs, line.Job)
				size += len(text)
			}
		}
		if len(jobs) >= importJobs || size >= importBytes || err == io.EOF {
			if err := flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
	}
	if empty {
		return errors.New("nothing to import: the input is empty")
	}
	if begun && !ended {
		p.fail(errors.New("the export is not whole: it has no line for its end"))
	}
	p.end()
	return nil
}

// readLine reads a line, or what is left. The end of ctx ends the wait for it.
func readLine(ctx context.Context, in *bufio.Reader) ([]byte, error) {
	if in.Buffered() > 0 {
		if text, err := in.Peek(in.Buffered()); err == nil && bytes.IndexByte(text, '\n') >= 0 {
			return in.ReadBytes('\n')
		}
	}
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := in.ReadBytes('\n')
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func parseLine(text []byte) (*exportLine, error) {
	line := new(exportLine)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields() // such as a name that is misspelled
	if err := dec.Decode(line); err != nil {
		return nil, fmt.Errorf("not a job: %w", err)
	}
	if dec.More() {
		return nil, errors.New("not a job: more than one value in a line")
	}
	if line.Begin != nil && line.Begin.Version != steer.Version {
		return nil, fmt.Errorf("an export of version %d; known is version %d", line.Begin.Version, steer.Version)
	}
	return line, nil
}
