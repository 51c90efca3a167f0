package settle

// Caught makes an error of what stopped a handler: the value it panicked
// with, or nil if its goroutine exits. It is called while the stack of the
// panic is still there. The root package sets it, once, in an init.
var Caught func(v any) error

// drainer runs listeners depth first, as calls would, with an explicit stack:
// what a listener settles is run before the next listener. A core whose last
// listener was taken is finished before the loop goes down, so that a chain of
// any length needs no stack at all, neither ours nor Go's.
type drainer struct {
	core  *Core // its listeners are being run
	list  *Link // those not run yet
	node  Node  // the one underway, nil between two
	left  *Failure
	abort error // what stopped node, nil if nothing did
	exits int
	stack []frame
}

type frame struct {
	core *Core
	list *Link
}

// maxExits bounds how often a drain goes on inside the exit of its goroutine,
// which costs stack each time, before it moves to a fresh one.
const maxExits = 1000

// Drain runs the listeners that c.Publish returned.
func Drain(c *Core, list *Link) {
	d := drainer{core: c, list: list}
	for !d.run() {
	}
}

// Run runs one node that is on no list, and what it settles.
func Run(n Node, left *Failure) {
	d := drainer{node: n, left: left}
	for !d.run() {
	}
}

// run reports true when all is done, and false when a listener panicked: then
// it is called again. One defer serves all listeners until then, so that
// containment costs nothing for those that behave.
func (d *drainer) run() (done bool) {
	defer func() {
		if !done {
			d.stopped(recover())
		}
	}()
	for {
		if d.node == nil && !d.next() {
			return true
		}
		var core *Core
		var list *Link
		if err := d.abort; err != nil {
			d.abort = nil
			core, list = d.node.Abort(err)
		} else {
			core, list = d.node.Fire(d.left)
		}
		d.node, d.left = nil, nil
		if list != nil {
			d.descend(core, list)
		}
	}
}

// next takes the next listener, and reports false if there is none left.
func (d *drainer) next() bool {
	for d.list == nil {
		if d.core != nil {
			if d.list = d.core.finish(); d.list != nil {
				break
			}
		}
		if len(d.stack) == 0 {
			return false
		}
		top := len(d.stack) - 1
		d.core, d.list = d.stack[top].core, d.stack[top].list
		d.stack[top] = frame{}
		d.stack = d.stack[:top]
	}
	l := d.list
	d.list = l.next
	l.next, l.prev = nil, nil
	d.node = l.Do
	return true
}

// descend turns to the listeners of a core that was just settled.
func (d *drainer) descend(core *Core, list *Link) {
	if d.core != nil {
		if d.list == nil {
			d.list = d.core.finish()
		}
		if d.list != nil {
			d.stack = append(d.stack, frame{d.core, d.list})
		}
	}
	d.core, d.list = core, list
}

// stopped is called while a listener's panic or exit unwinds the stack.
func (d *drainer) stopped(v any) {
	d.abort = Caught(v)
	if v != nil {
		return // recovered: the loop around run goes on
	}
	// The goroutine exits and cannot be kept. The other listeners are run in
	// its last moments.
	if d.exits++; d.exits > maxExits {
		rest := *d
		rest.exits = 0
		go func() {
			for !rest.run() {
			}
		}()
		return
	}
	for !d.run() {
	}
}
