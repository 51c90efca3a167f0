package admin

import (
	"slices"
	"strings"
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

// Routes are the methods and addresses of all routes, with values for their
// parameters.
func Routes() (all []string) {
	for _, rt := range routes {
		paths := []string{""}
		for _, part := range rt.pattern {
			parts := []string{strings.TrimPrefix(part, ":")}
			if part == ":action" {
				parts = queueActions
				switch {
				case slices.Contains(rt.pattern, ":id"):
					parts = jobActions
				case slices.Contains(rt.pattern, "bulk"):
					parts = bulkActions
				}
			}
			var longer []string
			for _, path := range paths {
				for _, part := range parts {
					longer = append(longer, path+"/"+part)
				}
			}
			paths = longer
		}
		for _, path := range paths {
			all = append(all, rt.method+" "+path)
		}
	}
	return all
}
