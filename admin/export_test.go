package admin

import (
	"testing"
	"time"
)

// SetStreamTimes shortens the write timeout of a stream and the time after
// which it sends something without news, for one test.
func SetStreamTimes(t *testing.T, write, pulse time.Duration) {
	w, p := streamWrite, streamPulse
	streamWrite, streamPulse = write, pulse
	t.Cleanup(func() { streamWrite, streamPulse = w, p })
}
