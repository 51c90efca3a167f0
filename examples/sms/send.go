package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

type mailing = twill.ResizableDispatchQueue[Recipient, struct{}]

// send sends the messages of a file. An interrupt lets the attempts underway
// end, a second one does not.
func send(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	recipients, skipped, err := openRecipients(cfg.send, stderr)
	if err != nil {
		return exitFailed, err
	}
	if cfg.width == 0 {
		cfg.width = firstWidth
	}
	courier := NewCourier(cfg.carrier, cfg.width)
	defer courier.Close()
	queue := twill.NewResizableDispatchQueue(func(ctx context.Context, r Recipient) (struct{}, error) {
		return struct{}{}, courier.Deliver(ctx, r.Message)
	}, &twill.DispatchOptions{Width: cfg.width, Retry: retries})

	results := queue.Results(context.Background())
	if _, err := queue.PutAll(recipients, 0); err != nil {
		return exitFailed, err
	}
	failures := twill.Go(context.Background(), func(ctx context.Context) (lines []string, _ error) {
		for job := range results {
			if _, err := job.Await(ctx); err != nil && !errors.Is(err, twill.ErrStopped) {
				to := job.Arg()
				lines = append(lines, fmt.Sprintf("%s:%d: %s: %v", filepath.Base(cfg.send), to.Line, to.Message.To, trouble(err)))
			}
		}
		return lines, nil
	})
	progress := NewProgress(stdout, isTerminal(stdout), len(recipients))
	unsent := watch(queue, interrupts, progress, stderr)
	lines, _ := failures.Await(context.Background())
	for _, line := range lines {
		fmt.Fprintln(stderr, line)
	}
	s := queue.Stats()
	fmt.Fprintf(stdout, "sent %d, failed %d, skipped %d, retried %d, in %.1f s\n",
		s.Finished, s.Failed, skipped, s.Retries, time.Since(progress.begun).Seconds())
	switch {
	case unsent > 0:
		fmt.Fprintf(stdout, "interrupted: %d were not sent\n", unsent)
		return exitInterrupted, nil
	case s.Failed > 0:
		return exitFailed, nil
	case skipped > 0:
		return exitSkipped, nil
	}
	return exitOK, nil
}

// watch shows progress until all jobs have ended or an interrupt has stopped
// the queue. It returns the number of jobs that were not done.
func watch(queue *mailing, interrupts <-chan os.Signal, progress *Progress, stderr io.Writer) (unsent int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	empty := queue.Empty().Done()
	var stopped *twill.Future[[]*twill.Job[Recipient, struct{}]]
	var over <-chan struct{}
	for {
		progress.Show(queue.Stats())
		select {
		case <-tick.C:
			continue
		case <-empty:
			empty, stopped = nil, queue.Stop()
		case <-interrupts:
			if empty != nil {
				empty, stopped = nil, queue.Stop()
				progress.End()
				fmt.Fprintln(stderr, "stopping: the attempts underway are being finished; interrupt again to stop at once")
			} else {
				stopped = queue.StopNow()
			}
		case <-over:
			progress.Show(queue.Stats())
			progress.End()
			left, _ := stopped.Await(context.Background())
			return len(left)
		}
		over = stopped.Done()
	}
}

// openRecipients reads the file, and reports the lines that are skipped.
func openRecipients(name string, stderr io.Writer) (recipients []Recipient, skipped int, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }()
	recipients, bad, err := ReadRecipients(file)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	for _, b := range bad {
		fmt.Fprintf(stderr, "%s:%d: %v; skipped\n", filepath.Base(name), b.Line, b.Err)
	}
	if len(recipients) == 0 {
		return nil, 0, fmt.Errorf("%s: it has no message to send", name)
	}
	return recipients, len(bad), nil
}

const maxFile = 32 << 20

// Recipient is a line of a CSV file: a message and its phone number.
type Recipient struct {
	Line    int
	Message Message
}

// BadLine is the reason why a line is skipped.
type BadLine struct {
	Line int
	Err  error
}

// ReadRecipients reads lines of a phone number and a text. A first line
// "to,text" is a heading. Lines with a mistake are returned as such, and the
// others are read all the same. The error is that of r.
func ReadRecipients(r io.Reader) ([]Recipient, []BadLine, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	if err != nil {
		return nil, nil, err
	}
	rest := bytes.TrimPrefix(content, []byte("\ufeff"))
	var good []Recipient
	var bad []BadLine
	for line := 1; len(rest) > 0; {
		record, at, length, err := readRecord(rest)
		if err == io.EOF {
			break
		}
		if at += line; err == nil && (at != 1 || !isHeading(record)) {
			var draft Draft
			if draft, err = parseRecord(record); err == nil {
				message := Message{ID: newID(), Number: int64(at), To: draft.To, Text: draft.Text}
				good = append(good, Recipient{at, message})
			}
		}
		if err != nil {
			bad = append(bad, BadLine{at, err})
		}
		line += bytes.Count(rest[:length], []byte("\n"))
		rest = rest[length:]
	}
	return good, bad, nil
}

// readRecord reads the first record, and returns how many lines are before it
// and the number of bytes to its end. Where a quote is wrong the record is its
// first line: the others may be good.
func readRecord(content []byte) (record []string, before, length int, err error) {
	reader := csv.NewReader(bytes.NewReader(content))
	reader.FieldsPerRecord = -1
	record, err = reader.Read()
	var syntax *csv.ParseError
	switch {
	case err == nil:
		first, _ := reader.FieldPos(0)
		return record, first - 1, int(reader.InputOffset()), nil
	case !errors.As(err, &syntax):
		return nil, 0, 0, err
	}
	before = syntax.StartLine - 1
	for range syntax.StartLine {
		next := bytes.IndexByte(content[length:], '\n')
		if next < 0 {
			length = len(content)
			break
		}
		length += next + 1
	}
	return nil, before, length, syntax.Err
}

func isHeading(record []string) bool {
	return len(record) == 2 && strings.EqualFold(strings.TrimSpace(record[0]), "to") && strings.EqualFold(strings.TrimSpace(record[1]), "text")
}

func parseRecord(record []string) (Draft, error) {
	if len(record) != 2 {
		return Draft{}, fmt.Errorf("a line is a phone number and a text, this one has %d fields (a text with a comma stands in quotes)", len(record))
	}
	return Draft{To: record[0], Text: record[1]}.Check()
}

// Progress shows how far the queue is: a bar that is redrawn on a terminal,
// otherwise a line for each tenth.
type Progress struct {
	w        io.Writer
	terminal bool
	total    int
	begun    time.Time
	width    int // of the bar that was drawn
	shown    int // tenths that have a line
}

// NewProgress returns a progress display on w for so many messages.
func NewProgress(w io.Writer, terminal bool, total int) *Progress {
	return &Progress{w: w, terminal: terminal, total: total, begun: time.Now()}
}

// isTerminal reports whether w is a screen rather than a file or a pipe.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const barCells = 30

// Show shows the numbers of the queue.
func (p *Progress) Show(s twill.DispatchStats) {
	done := int(s.Finished + s.Failed)
	line := fmt.Sprintf("%d of %d, %d underway, %d retried, %d failed", done, p.total, s.Underway, s.Retries, s.Failed)
	if p.terminal {
		full := barCells * done / max(p.total, 1)
		p.draw("[" + strings.Repeat("#", full) + strings.Repeat(".", barCells-full) + "] " + line + p.remaining(done))
	} else if tenths := 10 * done / max(p.total, 1); tenths > p.shown {
		p.shown = tenths
		fmt.Fprintln(p.w, line)
	}
}

// remaining estimates the time to the end.
func (p *Progress) remaining(done int) string {
	if done == 0 || done == p.total {
		return ""
	}
	left := time.Since(p.begun) / time.Duration(done) * time.Duration(p.total-done)
	return fmt.Sprintf(", %d s left", (left+time.Second-1)/time.Second)
}

// draw replaces the line and blanks the rest of a longer one.
func (p *Progress) draw(line string) {
	fmt.Fprintf(p.w, "\r%-*s", p.width, line)
	p.width = len(line)
}

// End ends the line of the bar.
func (p *Progress) End() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}
