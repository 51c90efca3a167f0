//go:build race

package kit

// RaceEnabled reports whether the race detector is compiled in.
const RaceEnabled = true
