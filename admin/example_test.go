package admin_test

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

// Two lines mount a page in a program that has a queue and a mux.
func Example() {
	queue := twill.NewResizableDispatchQueue(func(ctx context.Context, to string) (bool, error) {
		return true, nil
	}, &twill.DispatchOptions{Width: 5})
	mux := http.NewServeMux()

	page := admin.New(admin.Options{Insecure: true}) // for clients on this machine only
	defer page.Close()
	if err := page.Add("sms", admin.Dispatch(queue)); err != nil {
		log.Fatal(err)
	}
	mux.Handle("/queues/", http.StripPrefix("/queues", page))

	r := httptest.NewRequest(http.MethodGet, "http://localhost/queues/q/sms", nil)
	r.RemoteAddr = "127.0.0.1:4711"
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}

// A name and a password, compared in constant time; one user may only read.
func ExampleOptions() {
	passwords := map[string][32]byte{ // from the configuration
		"ada": sha256.Sum256([]byte("correct horse")),
		"bob": sha256.Sum256([]byte("battery staple")),
	}
	page := admin.New(admin.Options{
		Realm: "queues",
		Hosts: []string{"admin.example.com"},
		Authorize: func(r *http.Request, action admin.Action) (string, error) {
			user, password, _ := r.BasicAuth()
			want, known := passwords[user]
			got := sha256.Sum256([]byte(password))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !known {
				return "", admin.ErrUnauthenticated
			}
			if user == "bob" && action.Name != "read" {
				return user, fmt.Errorf("%s may not %s", user, action.Name)
			}
			return user, nil
		},
	})
	defer page.Close()

	get := func(user, password string) int {
		r := httptest.NewRequest(http.MethodGet, "https://admin.example.com/", nil)
		r.SetBasicAuth(user, password)
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(get("ada", "correct horse"), get("ada", "guess"), get("eve", ""))
	// Output: 200 401 401
}

// A function of the program shows arguments, and the stacks of jobs can be
// read.
func ExampleDispatch() {
	type message struct{ To, Text, Token string }
	queue := twill.NewResizableDispatchQueue(func(ctx context.Context, m message) (bool, error) {
		return true, nil
	}, nil)
	queue.Pause()
	if _, err := queue.Put(message{"+49 151 1234567", "Hello", "secret"}, 0); err != nil {
		log.Fatal(err)
	}
	shown := admin.Dispatch(queue, admin.DispatchOptions[message]{
		Show:   func(m message) string { return m.To + ": " + m.Text },
		Keep:   1000,
		Stacks: true,
	})
	defer shown.Close()
	for _, job := range shown.PendingJobs(0) {
		fmt.Println(job.State, job.Arg)
	}
	// Output: pending +49 151 1234567: Hello
}

// The numbers of a pool can be shown beside the queues.
func ExamplePage_AddPool() {
	page := admin.New(admin.Options{Insecure: true})
	defer page.Close()

	var uploads twill.Pool
	page.AddPool("uploads", &uploads)
	page.AddSemaphore("gateway", twill.NewSemaphore(4))
	page.AddPooler("lookups", twill.NewPooler(func(ctx context.Context, host string) (string, error) {
		return "192.0.2.1", nil
	}))
	// Output:
}

// A separate server, on a loopback address, that drops slow clients.
func ExampleNewServer() {
	page := admin.New(admin.Options{Insecure: true})
	server := admin.NewServer("", page)
	server.RegisterOnShutdown(page.Close) // ends the streams of browsers
	fmt.Println(server.Addr)
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	page.Close()
	// Output: 127.0.0.1:8080
}
