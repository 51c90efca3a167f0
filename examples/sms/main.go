// Command sms sends text messages. It is an example of twill's
// ResizableDispatchQueue and shows what that queue was made for: people enter a
// phone number and a message on a web page, sending is slow, and the carrier
// sets limits. Messages wait in a queue and go out through a pipeline whose
// width an operator changes while it runs. An interrupt stops the pipeline
// between messages, not in the middle of one, and the next start continues.
//
//	go run ./examples/sms -demo                               serve the page with sample messages in the queue
//	go run ./examples/sms                                     serve the page on http://127.0.0.1:8025
//	go run ./examples/sms -send examples/sms/recipients.csv   send the messages of a file, and exit
//
// Flags:
//
//	-addr HOST:PORT  where to serve the page (127.0.0.1:8025; port 0 takes a free one)
//	-width N         messages underway at once, 1 to 100 (as at the last stop; 5 at first and with -send)
//	-state FILE      where accepted messages are kept (sms-state.json in the user's state or config directory)
//	-carrier URL     where the carrier takes messages; without it the program starts its own on a loopback
//	                 port, which is slow, sometimes out of order, and delivers no message
//	-demo            fill the queue with sample messages, for a carrier that is slow enough to watch; nothing
//	                 is kept, so -state, -carrier and -send are refused
//	-send FILE       send the messages of a CSV file, a line "phone number,text" each, instead of serving
//
// With -send there is neither a page nor a state file, and -addr and -state are
// refused. A line that cannot be sent is reported with its number and skipped.
//
// Exit codes:
//
//	0    stopped by an interrupt or SIGTERM; with -send: every line was sent
//	1    it could not start, or the state file could not be written; with -send: a message failed for good
//	2    invalid flags or arguments
//	3    with -send: every message was sent, but lines of the file were skipped
//	130  stopped at once, by a second interrupt; with -send: interrupted, some messages were not sent
//
// README.md describes the HTTP API and what is guaranteed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/twillgo/twill/examples/sms/internal/carrier"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSkipped     = 3
	exitInterrupted = 130
)

func main() {
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, interrupts))
}

// run is the program. It returns its exit code.
func run(args []string, stdout, stderr io.Writer, interrupts <-chan os.Signal) int {
	cfg, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sms: %v\nsms -help explains the flags.\n", err)
		return exitUsage
	}
	code, err := start(cfg, stdout, stderr, interrupts)
	if err != nil {
		fmt.Fprintf(stderr, "sms: %v\n", err)
	}
	return code
}

// start does what the flags ask for, with a carrier of its own if they name
// none.
func start(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	if cfg.demo {
		dir, err := os.MkdirTemp("", "sms-demo-")
		if err != nil {
			return exitFailed, fmt.Errorf("no directory for the state of the demo: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cfg.state = filepath.Join(dir, "sms-state.json")
	}
	if cfg.carrier == "" {
		speed := carrier.Usual
		if cfg.demo {
			speed = carrier.Slow
		}
		url, stop, err := startCarrier(speed)
		if err != nil {
			return exitFailed, err
		}
		defer stop()
		cfg.carrier = url
		fmt.Fprintf(stdout, "test carrier, which delivers no message, on %s\n", url)
	}
	if cfg.send != "" {
		return send(cfg, stdout, stderr, interrupts)
	}
	return serve(cfg, stdout, stderr, interrupts)
}

// config is the command line.
type config struct {
	addr    string
	width   int // 0 if it was not given
	state   string
	carrier string
	send    string
	demo    bool
}

// parseFlags reads the command line. The error is [flag.ErrHelp] if it asked
// for help, which was then written to w.
func parseFlags(args []string, w io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("sms", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8025", "serve the page on `host:port`")
	flags.IntVar(&c.width, "width", 0, fmt.Sprintf("messages underway at once, 1 to %d (default: as at the last stop, %d at first and with -send)", maxWidth, firstWidth))
	flags.StringVar(&c.state, "state", "", "keep accepted messages in `file` (default: sms-state.json in the user's state or config directory)")
	flags.StringVar(&c.carrier, "carrier", "", "send to the carrier at `URL` (default: a carrier of the program's own, which delivers no message)")
	flags.StringVar(&c.send, "send", "", "send the messages of a CSV `file`, and exit")
	flags.BoolVar(&c.demo, "demo", false, "fill the queue with sample messages, and keep nothing")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(w, "sms sends text messages, from a web page or from a CSV file.")
			flags.SetOutput(w)
			flags.PrintDefaults()
		}
		return config{}, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case given["send"] && (given["addr"] || given["state"]):
		return config{}, errors.New("-addr and -state are for the page, and do not go with -send")
	case c.demo && (given["send"] || given["state"] || given["carrier"]):
		return config{}, errors.New("-demo brings its own messages, state file and carrier: -send, -state and -carrier do not go with it")
	case given["width"] && (c.width < 1 || c.width > maxWidth):
		return config{}, fmt.Errorf("-width %d: a width is a number from 1 to %d", c.width, maxWidth)
	}
	for _, name := range []string{"send", "state", "carrier"} {
		if given[name] && flags.Lookup(name).Value.String() == "" {
			return config{}, fmt.Errorf("-%s is empty", name)
		}
	}
	return c, c.check()
}

func (c *config) check() error {
	if _, _, err := net.SplitHostPort(c.addr); err != nil {
		return fmt.Errorf("-addr %q: give a host and a port, such as 127.0.0.1:8025", c.addr)
	}
	if c.carrier != "" {
		u, err := url.Parse(c.carrier)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("-carrier: give an http or https URL") // without repeating it: it may hold a password
		}
	}
	if c.state == "" && c.send == "" && !c.demo {
		dir, err := stateDir()
		if err != nil {
			return fmt.Errorf("no directory for the state file (%w): name a file with -state", err)
		}
		c.state = filepath.Join(dir, "sms-state.json")
	}
	return nil
}

// stateDir returns the directory for files that a program must find again: that
// of the XDG specification where it applies, the user's config directory
// elsewhere. A cache directory would not do, as cleaners empty it.
func stateDir() (string, error) {
	switch runtime.GOOS {
	case "windows", "darwin", "ios", "plan9":
		return os.UserConfigDir()
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state"), err
}

// startCarrier serves a carrier of a given speed on a loopback port.
func startCarrier(speed carrier.Options) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("a carrier cannot be started: %w", err)
	}
	server := &http.Server{
		Handler:           carrier.New(speed),
		ReadHeaderTimeout: attemptTimeout,
		ReadTimeout:       attemptTimeout,
		WriteTimeout:      attemptTimeout,
	}
	go func() { _ = server.Serve(listener) }() // until stop
	return "http://" + listener.Addr().String() + "/messages", func() { _ = server.Close() }, nil
}
