package sip

// FirstEdited returns the first comma-separated value of id as it will be once
// e, which may be nil, is applied; "" when there will be none. A proxy finds the
// next hop so, without writing the message first.
func (m *Message) FirstEdited(id ID, e *Edits) string {
	if e.IsZero() || !e.touches(id) {
		return m.First(id)
	}
	d := m.draft()
	defer d.free()
	for i := m.Find(id, 0); i >= 0; i = m.Find(id, i+1) {
		d.slots = append(d.slots, slot{line: int16(i), id: id})
	}
	for i := range e.ops {
		if o := &e.ops[i]; o.id == id || o.kind == opRemoveLine || o.kind == opReplaceLine {
			d.do(o)
		}
	}
	for i := range d.slots {
		var v string
		if s := &d.slots[i]; s.text != 0 {
			v = d.texts[s.text-1].value
		} else {
			v = m.value(&m.lines[s.line])
		}
		if !isList(id) {
			return v
		}
		for elem := range split(v, id) {
			return elem
		}
	}
	return ""
}

// touches reports whether an op may concern lines of that identity.
func (e *Edits) touches(id ID) bool {
	for i := range e.ops {
		if o := &e.ops[i]; o.id == id || o.kind == opRemoveLine || o.kind == opReplaceLine {
			return true
		}
	}
	return false
}
