package admin

import (
	"math"
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

// FillHistory gives a queue of p an hour of samples.
func FillHistory(p *Page, queue string) {
	h := &p.find(queue).history
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for i := range samples {
		wave := 1 + math.Sin(float64(i)/40)
		h.keep(sample{
			Time: now.Add(time.Duration(i-samples) * sampleInterval), Pending: int(300 * wave), Underway: 8, Width: 8,
			Put: 20 * wave, Ended: 20 + 5*math.Cos(float64(i)/30), Failed: wave / 2,
			Waiting: quantiles{0.2 * wave, 0.8 * wave, 2 * wave}, Running: quantiles{0.1, 0.3, 1 + wave},
		})
	}
}
