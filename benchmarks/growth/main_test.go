package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWritesAPlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "growth.svg")
	require.Zero(t, run([]string{"-max", "100", "-count", "1", "-o", file}, io.Discard, io.Discard))
	svg, err := os.Open(file)
	require.NoError(t, err)
	defer svg.Close()
	elements := map[string]int{}
	for d := xml.NewDecoder(svg); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
		}
	}
	require.Equal(t, 3*2+3, elements["circle"], "three sizes up to 100, or two")
}
