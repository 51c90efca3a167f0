package heap

const ChunkSize = chunkSize

// Cap is how many slots h has room for.
func Cap[T Item](h *Heap[T]) (n int) {
	for _, c := range h.table {
		n += len(c.slots) * arity
	}
	return n
}
