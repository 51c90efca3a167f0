// Package fuzz compares random programs with the model:
//
//	go test -tags suites ./internal/test/fuzz
package fuzz
