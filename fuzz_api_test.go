package twill_test

import (
	"fmt"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/model"
	"github.com/twillgo/twill/internal/test/kit"
)

type (
	twillFuture = *twill.Future[int]
	modelFuture = *model.Future
)

var fuzzTwill = fuzzAPI[twillFuture]{
	promise: func() (fuzzPromise[twillFuture], twillFuture) {
		p := new(twill.Promise[int])
		return p, p.Future()
	},
	resolved:     twill.Resolved[int],
	rejected:     twill.Rejected[int],
	then:         twill.Then[int, int],
	handle:       twill.Handle[int, int],
	thenFuture:   twill.ThenFuture[int, int],
	handleFuture: twill.HandleFuture[int, int],
	finally:      twillFuture.Finally,
	tap:          twillFuture.Tap,
	via:          func(f twillFuture, run func(func())) twillFuture { return f.Via(twill.ExecutorFunc(run)) },
	timeout:      func(f twillFuture) twillFuture { return f.Timeout(0) },
	watch:        func(f twillFuture) { f.Done() },
	list: func(kind int, fs ...twillFuture) twillFuture {
		switch kind {
		case listAll:
			return twill.Then(twill.All(fs...), func(vs []int) (int, error) {
				var rs []twill.Result[int]
				for _, v := range vs {
					rs = append(rs, twill.Result[int]{Value: v})
				}
				return fuzzSum(rs), nil
			})
		case listAny:
			return twill.Any(fs...)
		case listFirst:
			return twill.First(fs...)
		case listSettled:
			return twill.Then(twill.Settled(fs...), func(rs []twill.Result[int]) (int, error) { return fuzzSum(rs), nil })
		}
		l := twill.NewDeferredList(fs, twill.ListFlags(kind-listFlags))
		return twill.Then(&l.Future, func(r twill.ListResult[int]) (int, error) {
			if r.Index >= 0 {
				return r.Index*100 + r.Value, nil
			}
			return fuzzSum(r.Results), nil
		})
	},
	state: func(f twillFuture) string {
		done := false
		select {
		case <-f.Done():
			done = true
		default:
		}
		r, ok := f.Poll()
		if !ok { // Done has made a bridge, and so has the model's Watch
			return fmt.Sprintf("pending %t, %d listeners, %d users", done, kit.Listeners(f), kit.Users(f))
		}
		return fmt.Sprintf("%d %s %t, %d listeners", r.Value, fuzzText(r.Err), done, kit.Listeners(f))
	},
}

var fuzzModel = fuzzAPI[modelFuture]{
	promise: func() (fuzzPromise[modelFuture], modelFuture) {
		p := model.NewPromise()
		return p, p.Future()
	},
	resolved:     model.Resolved,
	rejected:     model.Rejected,
	then:         modelFuture.Then,
	handle:       modelFuture.Handle,
	thenFuture:   modelFuture.ThenFuture,
	handleFuture: modelFuture.HandleFuture,
	finally: func(f modelFuture, fn func()) modelFuture {
		return f.Handle(func(v int, err error) (int, error) { fn(); return v, err })
	},
	tap: func(f modelFuture, fn func(int, error)) modelFuture {
		return f.Handle(func(v int, err error) (int, error) { fn(v, err); return v, err })
	},
	via:     modelFuture.Via,
	timeout: modelFuture.Timeout,
	watch:   modelFuture.Watch,
	list: func(kind int, fs ...modelFuture) modelFuture {
		sum := func(rs []twill.Result[int]) (int, error) { return fuzzSum(rs), nil }
		pass := func(v int) (int, error) { return v, nil }
		switch kind {
		case listAll:
			return model.NewList(model.ListOptions{OnError: true, Leaves: true, Takes: true, All: sum}, fs...).Then(pass)
		case listAny:
			return model.NewList(model.ListOptions{
				OnValue: true, Leaves: true, Takes: true, Ends: true,
				All: func(rs []twill.Result[int]) (int, error) {
					all := &twill.AllFailedError{}
					for _, r := range rs {
						all.Errs = append(all.Errs, r.Err)
					}
					return 0, all
				},
			}, fs...)
		case listFirst:
			return model.NewList(model.ListOptions{OnValue: true, OnError: true, Leaves: true, Takes: true}, fs...)
		case listSettled:
			return model.NewList(model.ListOptions{Takes: true, All: sum}, fs...).Then(pass)
		}
		flags := twill.ListFlags(kind - listFlags)
		return model.NewList(model.ListOptions{
			OnValue: flags&twill.FireOnOneCallback != 0,
			OnError: flags&twill.FireOnOneErrback != 0,
			Takes:   flags&twill.ConsumeErrors != 0,
			All:     sum,
			One:     func(i, v int) int { return i*100 + v },
		}, fs...).Then(pass)
	},
	state: func(f modelFuture) string {
		f.Watch()
		v, err, ok := f.Result()
		if !ok {
			return fmt.Sprintf("pending %t, %d listeners, %d users", false, f.Listeners(), f.Users())
		}
		return fmt.Sprintf("%d %s %t, %d listeners", v, fuzzText(err), true, f.Listeners())
	},
}
