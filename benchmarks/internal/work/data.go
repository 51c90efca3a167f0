package work

// Data returns the table of queues, poolers and dictionaries.
func Data() []Work {
	const group = "data"
	return []Work{
		{
			Group: group, Name: "queue: put + get, values",
			Ours: twillQueueValues,
			Beside: []Peer{
				{"buffered channel", chanQueue},
				{"mutex + slice", sliceQueue},
			},
			Goal:   1.5,
			Limits: []Limit{{Allocs, 0}},
		},
		{
			Group: group, Name: "queue: put + get, a future per get",
			Ours: twillQueueFutures,
			Beside: []Peer{
				{"buffered channel", chanQueue},
			},
			Limits: []Limit{{Allocs, 1}},
		},
		{
			Group: group, Name: "queue: hand-off to a waiter and back",
			Ours: twillPingPong,
			Beside: []Peer{
				{"channel", chanPingPong},
			},
			Goal: 1.8,
		},
		{
			Group: group, Name: "pooler: miss, the caller runs it",
			Ours: twillPoolerCaller,
			Beside: []Peer{
				{"singleflight.Do", singleflightDo},
			},
			Goal: 1.6,
		},
		{
			Group: group, Name: "pooler: miss, a goroutine runs it",
			Ours: twillPoolerGoroutine,
			Beside: []Peer{
				{"resenje", resenjeDo},
				{"singleflight.DoChan", singleflightDoChan},
			},
			Goal: 1,
		},
		{
			Group: group, Name: "pooler: 1000 joiners",
			Ours: twillJoiners,
			Beside: []Peer{
				{"singleflight.DoChan", singleflightJoiners},
			},
			Goal: 0.45,
		},
		{
			Group: group, Name: "dict: get hit",
			Ours: twillDictHit,
			Beside: []Peer{
				{"sync.Map", syncMapHit},
				{"RWMutex + map", mapHit},
			},
			Goal:   1.5,
			Limits: []Limit{{Allocs, 0}},
		},
		{
			Group: group, Name: "dict: miss, set, fire, 1000 keys",
			Ours: twillDictMiss,
			Beside: []Peer{
				{"sync.Map + chan", syncMapMiss},
			},
			Goal: 1,
		},
	}
}
