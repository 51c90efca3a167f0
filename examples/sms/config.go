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
	"path/filepath"

	"github.com/twillgo/twill/examples/sms/internal/carrier"
)

// config is what the flags say.
type config struct {
	addr    string
	width   int
	state   string
	carrier string
	send    string
}

// parseFlags reads the command line. The error is [flag.ErrHelp] when it asked
// for help, which was then written to w.
func parseFlags(args []string, w io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("sms", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8025", "serve the page on `host:port`")
	flags.IntVar(&c.width, "width", 5, fmt.Sprintf("messages underway at once, 1 to %d", maxWidth))
	flags.StringVar(&c.state, "state", "", "keep accepted messages in `file` (default sms-state.json in the user's cache directory)")
	flags.StringVar(&c.carrier, "carrier", "", "send to the carrier at `URL` (default: a carrier of the program's own, which delivers to nobody)")
	flags.StringVar(&c.send, "send", "", "send the messages of a CSV `file`, and exit")
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
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if given["send"] && (given["addr"] || given["state"]) {
		return config{}, errors.New("-addr and -state are for the page, and do not go with -send")
	}
	for _, name := range []string{"send", "state", "carrier"} {
		if given[name] && flags.Lookup(name).Value.String() == "" {
			return config{}, fmt.Errorf("-%s is empty", name)
		}
	}
	return c, c.check()
}

func (c *config) check() error {
	if c.width < 1 || c.width > maxWidth {
		return fmt.Errorf("-width %d: a width is a number from 1 to %d", c.width, maxWidth)
	}
	if _, _, err := net.SplitHostPort(c.addr); err != nil {
		return fmt.Errorf("-addr %q: give a host and a port, such as 127.0.0.1:8025", c.addr)
	}
	if c.carrier != "" {
		u, err := url.Parse(c.carrier)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("-carrier: give an http or https URL") // without repeating it: it may hold a password
		}
	}
	if c.state == "" && c.send == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("there is no cache directory (%w): name a file with -state", err)
		}
		c.state = filepath.Join(dir, "sms-state.json")
	}
	return nil
}

// startCarrier serves a carrier on a loopback port.
func startCarrier() (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("a carrier cannot be started: %w", err)
	}
	server := &http.Server{
		Handler:           carrier.New(carrier.Usual),
		ReadHeaderTimeout: attemptTimeout,
		ReadTimeout:       attemptTimeout,
		WriteTimeout:      attemptTimeout,
	}
	go func() { _ = server.Serve(listener) }() // until stop
	return "http://" + listener.Addr().String() + "/messages", func() { _ = server.Close() }, nil
}
