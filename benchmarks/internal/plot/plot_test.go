package plot

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPart(t *testing.T) {
	require.InDelta(t, 0.5, part(1000, 1, 1_000_000), 1e-9)
	require.Zero(t, part(0.1, 1, 10), "what lies outside is drawn at the edge")
	require.Equal(t, 1.0, part(100, 1, 10))
}

func TestChartsHaveTheirPlacesBelowEachOther(t *testing.T) {
	chart := func(name string) Chart {
		return Chart{
			Cost: "cost", Unit: Bytes, Sizes: Range{1, 100}, Least: 1, Most: 100,
			Lines: []Line{{name, []Point{{1, 1}, {10, 10}, {100, 100}}}},
		}
	}
	svg := string(SVG("two & two", chart("a<b"), chart("c")))
	require.NoError(t, xml.Unmarshal([]byte(svg), new(any)), "what is shown is escaped")
	require.Contains(t, svg, `viewBox="0 0 720 800"`)
	require.Contains(t, svg, `translate(0 400)`)
	require.Equal(t, 2, strings.Count(svg, "M80.0 304.0L392.0 164.0L704.0 24.0"), "a straight line from corner to corner")
	require.Contains(t, svg, `<title>a&lt;b, 100: 100 B</title>`)
}

func TestNames(t *testing.T) {
	require.Equal(t, []int{10, 100, 1000}, Range{10, 1000}.Powers())
	require.Equal(t, "999", Size(999))
	require.Equal(t, "10k", Size(10_000))
	require.Equal(t, "10M", Size(10_000_000))
	require.Equal(t, "999 ns", Duration(999))
	require.Equal(t, "1.57 us", Duration(1567))
	require.Equal(t, "10 us", Duration(10_000))
}
