//go:build !yield

package settle

// yield is where the build tag "yield" lets another goroutine run.
func yield() {}
