//go:build suites

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
)

func TestReadRecipients(t *testing.T) {
	const valid = "+1 212 555 0123,Hello"
	for _, c := range []struct {
		name, file string
		good       []int    // lines
		bad        []string // "line: error"
	}{
		{"an empty file", "", nil, nil},
		{"a heading alone", "to,text\n", nil, nil},
		{"a heading and a line", "To, Text \n" + valid + "\n", []int{2}, nil},
		{"no heading, no line end", valid, []int{1}, nil},
		{"a byte order mark, CRLF", "\ufeffto,text\r\n" + valid + "\r\n", []int{2}, nil},
		{"empty lines count", "\n\n" + valid + "\n\n\n" + valid + "\n", []int{3, 6}, nil},
		{"a bad number", valid + "\n12,Hello\n" + valid, []int{1, 3}, []string{"2: to: begin with a plus"}},
		{"no text", valid + "\n+12125550124,\n" + valid, []int{1, 3}, []string{"2: text: write a message"}},
		{"a comma too many", valid + "\n+12125550124,Hello, Ada\n" + valid, []int{1, 3}, []string{"2: a line is a phone number and a text, this one has 3 fields"}},
		{"a field too few", "hello\n" + valid, []int{2}, []string{"1: a line is a phone number and a text, this one has 1 fields"}},
		{"a heading twice", "to,text\nto,text\n" + valid, []int{3}, []string{"2: to: 't' cannot be part"}},
		{"a text of two lines", "+12125550123,\"one\ntwo\"\n" + valid, []int{1, 3}, nil},
		{"a bad line after a text of two", "+12125550123,\"one\ntwo\"\n12,x\n" + valid, []int{1, 4}, []string{"3: to:"}},
		{"a quote in the middle", "+12125550123,He said \"hi\"\n" + valid, []int{2}, []string{"1: bare \""}},
		{"a quote that does not end", valid + "\n\n+12125550124,\"Hello\n" + valid + "\n" + valid, []int{1, 4, 5}, []string{"3: extraneous or missing \""}},
		{"bytes that are no text", "+12125550123,a\xff\n" + valid, []int{2}, []string{"1: text: this is not valid UTF-8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, bad, err := ReadRecipients(strings.NewReader(c.file))
			require.NoError(t, err)
			var lines []int
			for _, r := range good {
				lines = append(lines, r.Line)
				require.Equal(t, int64(r.Line), r.Message.Number)
			}
			require.Equal(t, c.good, lines)
			require.Len(t, bad, len(c.bad))
			for i, b := range bad {
				line, text, _ := strings.Cut(c.bad[i], ": ")
				require.Equal(t, line, strconv.Itoa(b.Line))
				require.ErrorContains(t, b.Err, text)
			}
		})
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	_, _, err := ReadRecipients(iotest.ErrReader(os.ErrPermission))
	require.ErrorIs(t, err, os.ErrPermission)
	_, _, err = ReadRecipients(strings.NewReader(strings.Repeat("x", maxFile+1)))
	require.ErrorContains(t, err, "larger than")
}

func TestTheFileThatComesAlongHas200NumbersOfNobody(t *testing.T) {
	file, err := os.Open("recipients.csv")
	require.NoError(t, err)
	defer file.Close()
	good, bad, err := ReadRecipients(file)
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Len(t, good, 200)
	fiction := regexp.MustCompile(`^(\+1[2-9]\d\d55501\d\d|\+447700900\d\d\d)$`)
	seen := map[string]bool{}
	for _, r := range good {
		require.Regexp(t, fiction, r.Message.To)
		require.False(t, seen[r.Message.To], r.Message.To)
		seen[r.Message.To] = true
	}
}

func FuzzReadRecipients(f *testing.F) {
	f.Add("to,text\n+12125550123,\"a\nb\"\n\"\n")
	f.Fuzz(func(t *testing.T, file string) {
		good, bad, err := ReadRecipients(strings.NewReader(file))
		require.NoError(t, err)
		last := 0
		lines := strings.Count(file, "\n") + 1
		for _, r := range good {
			require.Greater(t, r.Line, last)
			require.LessOrEqual(t, r.Line, lines)
			last = r.Line
		}
		require.LessOrEqual(t, len(good)+len(bad), lines)
	})
}

func TestProgressIsALineForEachTenth(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false, 37)
	for sent := 0; sent <= 37; sent++ {
		p.Show(twill.DispatchStats{Finished: uint64(sent), Underway: 2})
		p.Show(twill.DispatchStats{Finished: uint64(sent), Underway: 2})
	}
	p.End()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	require.Equal(t, "4 of 37, 2 underway, 0 retried, 0 failed", lines[0])
	require.Equal(t, "37 of 37, 2 underway, 0 retried, 0 failed", lines[9])
}

func TestProgressIsABarOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(&out, true, 200)
		time.Sleep(10 * time.Second)
		p.Show(twill.DispatchStats{Finished: 100, Underway: 5, Retries: 3})
		require.Equal(t, "\r[###############...............] 100 of 200, 5 underway, 3 retried, 0 failed, 10 s left", out.String())
		out.Reset()
		p.Show(twill.DispatchStats{Finished: 199, Failed: 1})
		require.Equal(t, "\r[##############################] 200 of 200, 0 underway, 0 retried, 1 failed           ", out.String())
		out.Reset()
		p.End()
		p.End()
		require.Equal(t, "\n", out.String())
	})
}

func TestAFileIsNoTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	require.False(t, isTerminal(file))
	require.False(t, isTerminal(&bytes.Buffer{}))
}
