package sip

// FirstEdited returns the first comma-separated value of id as it will be once
// e, which may be nil, is applied; "" when there will be none. A proxy finds the
// next hop so, without writing the message first.
func (m *Message) FirstEdited(id ID, e *Edits) string {
	if e.IsZero() || !e.touches(id) {
		return m.First(id)
	}
	var few [8]slot
	slots := few[:0]
	for i := m.Find(id, 0); i >= 0; i = m.Find(id, i+1) {
		slots = append(slots, slot{line: int16(i), id: id})
	}
	for i := range e.ops {
		if o := &e.ops[i]; o.id == id || o.kind == opRemoveLine || o.kind == opReplaceLine {
			slots = m.edit(slots, o)
		}
	}
	for i := range slots {
		v := slots[i].value
		if !slots[i].fresh {
			v = m.value(&m.lines[slots[i].line])
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
