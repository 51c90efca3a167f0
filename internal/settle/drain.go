package settle

// Caught returns the error for what stopped a handler: the value with which it
// panicked, or nil if its goroutine exits. It is called while the stack of the
// panic is available. The root package sets it once, in an init function.
var Caught func(v any) error

// drainer runs listeners depth first, as nested calls would, with an explicit
// stack: what a listener settles is run before the next listener. After its
// last listener was taken, a core is finished before the loop descends, so that
// a chain of any length needs neither this stack nor Go's.
type drainer struct {
	core  *Core // the core whose listeners are being run
	list  *Link // the listeners not run yet
	node  Node  // the node underway, nil between two nodes
	left  *Failure
	abort error // what stopped node, or nil
	exits int
	stack []frame
}

type frame struct {
	core *Core
	list *Link
}

// maxExits bounds how often a drain continues inside the exit of its goroutine,
// which uses stack each time, before it moves to a new goroutine.
const maxExits = 1000

// Drain runs the listeners that c.Publish returned or, if c is nil, what Leave
// did.
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

// run returns true when everything has run, and false when a listener has
// panicked: then it is called again. Until then one defer serves all listeners,
// so that catching panics costs nothing for listeners that do not panic.
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

// next advances to the next listener, and returns false if there is none left.
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

// descend continues with the listeners of a core that was just settled or, if
// core is nil, with nodes that are on no list of a core.
func (d *drainer) descend(core *Core, list *Link) {
	if d.list == nil && d.core != nil {
		d.list = d.core.finish()
	}
	if d.list != nil {
		d.stack = append(d.stack, frame{d.core, d.list})
	}
	d.core, d.list = core, list
}

// stopped is called while a listener's panic or exit unwinds the stack.
func (d *drainer) stopped(v any) {
	d.abort = Caught(v)
	if v != nil {
		return // recovered; the loop around run continues
	}
	// The goroutine exits, which cannot be prevented. The other listeners are run
	// inside its exit.
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
