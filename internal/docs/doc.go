// Package docs checks the documents and godoc:
//
//	go test -tags suites ./internal/docs
package docs
