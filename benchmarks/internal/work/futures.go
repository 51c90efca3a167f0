package work

// Futures is the table about single futures and lists of them.
func Futures() []Work {
	const group = "futures"
	return []Work{
		{
			Group: group, Name: "create, resolve, read on one goroutine",
			Ours: twillCreateResolveRead,
			Beside: []Peer{
				{"chan(1)", chanCreateResolveRead},
				{"livekit", livekitCreateResolveRead},
				{"mo", moCreateResolveRead},
				{"fanliao", fanliaoCreateResolveRead},
			},
			Goal:   0.5,
			Limits: []Limit{{Allocs, 1}, {AllocBytes, 64}},
		},
		{
			Group: group, Name: "read a settled one",
			Ours: twillReadSettled,
			Beside: []Peer{
				{"closed chan", chanReadSettled},
				{"WaitGroup", waitGroupReadSettled},
				{"livekit", livekitReadSettled},
				{"mo", moReadSettled},
				{"fanliao", fanliaoReadSettled},
			},
			Goal:   0.2,
			Limits: []Limit{{Allocs, 0}},
		},
		{
			Group: group, Name: "OnSettled: attach, then resolve",
			Ours: twillOnSettled,
			Beside: []Peer{
				{"chan + goroutine", chanAttachResolve},
				{"context.AfterFunc", contextAttachResolve},
			},
			Goal:   0.14,
			Limits: []Limit{{Allocs, 2}},
		},
		{
			Group: group, Name: "attach a handler, then resolve",
			Ours: twillAttachResolve,
			Beside: []Peer{
				{"chan + goroutine", chanAttachResolve},
				{"livekit", livekitAttachResolve},
				{"context.AfterFunc", contextAttachResolve},
				{"mo", moAttachResolve},
				{"fanliao", fanliaoAttachResolve},
			},
			Goal:   0.2, // a handler has a result, which is a second future
			Limits: []Limit{{Allocs, 2}},
		},
		{
			Group: group, Name: "chain of 100 handlers, recover in each",
			Ours: twillChain,
			Beside: []Peer{
				{"mo", moChain},
				{"fanliao", fanliaoChain},
			},
			Goal:   0.22,
			Limits: []Limit{{Allocs, 1 + links}, {AllocBytes, 64 + 80*links}},
		},
		{
			Group: group, Name: "one type-changing Then (create, Then, resolve, read)",
			Ours:   twillThen,
			Beside: []Peer{{"chan(1) of the first row", chanCreateResolveRead}},
			Goal:   1.25,
		},
		{
			Group: group, Name: "one type-changing Then, beside a second channel",
			Ours:   twillThen,
			Beside: []Peer{{"two channels and the conversion", chanThen}},
			Goal:   0.7,
		},
		{
			Group: group, Name: "All over 1000",
			Ours: twillAll,
			Beside: []Peer{
				{"channels one by one", chanAll},
				{"fanliao", fanliaoAll},
			},
			Goal: 0.93,
		},
		{
			Group: group, Name: "first of 10, losers left clean",
			Ours: twillFirst,
			Beside: []Peer{
				{"shared channel", chanFirst},
				{"fanliao", fanliaoFirst},
			},
			Goal: 11,
		},
		{
			Group: group, Name: "resolve elsewhere, blocking Await(ctx)",
			Ours: twillAwait,
			Beside: []Peer{
				{"chan", chanAwait},
				{"chan + ctx", chanAwaitContext},
				{"livekit", livekitAwait},
				{"fanliao", fanliaoAwait},
			},
			Goal:   1.25,
			Limits: []Limit{{Allocs, 1}}, // the allocation of the future: none for the wait
		},
		{
			Group: group, Name: "resolve elsewhere, Await(ctx) beside a select",
			Ours:   twillAwait,
			Beside: []Peer{{"chan + ctx", chanAwaitContext}}, // the same promise: both waits end with the context
			Goal:   1.05,
			Limits: []Limit{{Allocs, 1}},
		},
		{
			Group: group, Name: "spawn and await",
			Ours: twillSpawn,
			Beside: []Peer{
				{"errgroup with context", errgroupContextSpawn},
				{"errgroup", errgroupSpawn},
				{"chan + goroutine", chanSpawn},
				{"lo.Async", loSpawn},
				{"livekit", livekitSpawn},
				{"mo", moSpawn},
				{"conc pool", concSpawn},
			},
			Goal:   1,
			Limits: []Limit{{Allocs, 4}},
		},
		{
			Group: group, Name: "1M pending, bare / with one Then",
			Ours: twillPending,
			Beside: []Peer{
				{"chan(1)", chanPending},
				{"livekit", livekitPending},
				{"mo", moPending},
			},
			Bytes: true, Heavy: true,
			Limits: []Limit{{EachBytes, 64}, {ThenBytes, 128}, {Goroutines, 0}},
		},
		{
			Group: group, Name: "kept by a listener that gave up on a long-lived future",
			Ours: twillGivenUp,
			Beside: []Peer{
				{"chan + ctx", chanGivenUp},
				{"context.AfterFunc", contextGivenUp},
				{"livekit", livekitGivenUp},
			},
			Bytes: true, Heavy: true,
			Limits: []Limit{{EachBytes, 0}, {ThenBytes, 0}, {FirstBytes, 0}},
		},
	}
}
