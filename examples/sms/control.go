package main

import "net/http"

func (s *server) postWidth(w http.ResponseWriter, r *http.Request) {
	n, err := readNumber(r, "width")
	if err == nil {
		err = s.outbox.SetWidth(n)
	}
	s.pipeline(w, r, err)
}

func (s *server) postPause(w http.ResponseWriter, r *http.Request) {
	s.pipeline(w, r, s.outbox.Pause())
}

func (s *server) postResume(w http.ResponseWriter, r *http.Request) {
	s.pipeline(w, r, s.outbox.Resume())
}

// pipeline answers a request to change the pipeline.
func (s *server) pipeline(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err, Draft{})
		return
	}
	s.succeed(w, r, s.health())
}

func (s *server) postPriority(w http.ResponseWriter, r *http.Request) {
	n, err := readNumber(r, "priority")
	if err == nil {
		err = s.outbox.Reprioritize(r.PathValue("id"), n)
	}
	s.one(w, r, err)
}

func (s *server) postCancel(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, s.outbox.Cancel(r.PathValue("id")))
}

func (s *server) postSendAgain(w http.ResponseWriter, r *http.Request) {
	s.one(w, r, s.outbox.SendAgain(r.PathValue("id")))
}

// one answers a request to change one message.
func (s *server) one(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err, Draft{})
		return
	}
	row, _ := s.outbox.Message(r.PathValue("id"))
	s.succeed(w, r, row)
}

// succeed answers a program with v, and sends a person back to the page.
func (s *server) succeed(w http.ResponseWriter, r *http.Request, v any) {
	if wantsPage(r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, v)
}
