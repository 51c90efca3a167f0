//go:build !unix

package store

import "modernc.org/libc"

// useDatasync does nothing here.
func useDatasync(*libc.TLS) {}
