package twill

// each calls fn, which settles a future, for every one of xs. If a handler ends
// the goroutine, a fresh one goes on: the other futures are not forgotten.
func each[T any](xs []T, fn func(T)) {
	i := 0
	defer func() {
		if i < len(xs) {
			go each(xs[i+1:], fn)
		}
	}()
	for ; i < len(xs); i++ {
		fn(xs[i])
	}
}
