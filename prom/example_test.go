package prom_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/prom"
)

func ExampleCollector() {
	ctx := context.Background()
	send := func(context.Context, string) (int, error) { return 1, nil }
	queue := twill.NewResizableDispatchQueue(send, &twill.DispatchOptions{Width: 5})

	c := prom.NewCollector(nil)
	c.MustAdd(prom.Dispatch("sms", queue.Stats))
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})

	for range 3 {
		job, _ := queue.Put("hello", 0)
		_, _ = job.Await(ctx)
	}
	_, _ = queue.Drain(ctx)

	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "twill_jobs_finished_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// twill_jobs_finished_total{outcome="canceled",queue="sms"} 0
	// twill_jobs_finished_total{outcome="failed",queue="sms"} 0
	// twill_jobs_finished_total{outcome="finished",queue="sms"} 3
}
