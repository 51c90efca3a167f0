package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const maxFile = 32 << 20

// Recipient is a line of a CSV file: whom to send what.
type Recipient struct {
	Line    int
	Message Message
}

// BadLine says why a line is skipped.
type BadLine struct {
	Line int
	Err  error
}

// ReadRecipients reads lines of a phone number and a text. A first line "to,text"
// is a heading. Lines that make no sense are returned as such, and
// do not keep the others from being read. The error is that of r.
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
				message := Message{ID: newID(), Number: int64(at), To: draft.To, Text: draft.Text, Accepted: time.Now()}
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
