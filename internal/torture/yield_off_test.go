//go:build !yield

package torture_test

const yields = false
