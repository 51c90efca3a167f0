package heap

// Cap is the length of h's array.
func Cap[T Item](h *Heap[T]) int { return cap(h.slots) }
