package minute

import "math"

// useView is what the dimensions and filters of templates and uses say of a kind and an app in a template.
type useView struct {
	known, passes bool
	values        CellKey
}

// lookUpTemplate asks those of templates.
func (c *cutting) lookUpTemplate(template int) useView {
	of := useView{known: true, passes: true, values: Whole}
	for i := range c.cut.Filters {
		if f := &c.cut.Filters[i]; f.OfTemplate != nil && of.passes {
			of.passes = f.passes(f.OfTemplate(template))
		}
	}
	for i, d := range c.cut.Dimensions {
		if d.OfTemplate != nil && of.passes {
			of.values[i] = d.OfTemplate(template)
		}
	}
	return of
}

// lookUp asks all of them. One lane at a time asks.
func (c *cutting) lookUp(template int, kind Kind, app string) useView {
	kind, _ = kind.Measured()
	use := c.lookUpTemplate(template)
	use.passes = use.passes && kind != Login
	c.asking.Lock()
	defer c.asking.Unlock()
	for i := range c.cut.Filters {
		if f := &c.cut.Filters[i]; f.OfUse != nil && use.passes {
			use.passes = f.passes(f.OfUse(template, kind, app))
		}
	}
	for i, d := range c.cut.Dimensions {
		if d.OfUse != nil && use.passes {
			use.values[i] = d.OfUse(template, kind, app)
		}
	}
	return use
}

// view is what the dimensions and filters say of the rows of one subject after the other.
type view struct {
	*cutting

	subject  int64
	values   CellKey
	halfHour int32 // of what follows; notAsked: of none
	inside   bool  // passes the filters of half hours
	several  [MaxDimensions][]int64
}

// notAsked is no half hour.
const notAsked = math.MinInt32

// look turns to a subject, and reports whether it passes the filters.
func (v *view) look(subject int64) bool {
	v.subject, v.halfHour = subject, notAsked
	for i := range v.cut.Filters {
		if f := &v.cut.Filters[i]; f.OfSubject != nil && !f.passes(f.OfSubject(subject)) {
			return false
		}
	}
	for i, d := range v.cut.Dimensions {
		if d.OfSubject != nil {
			v.values[i] = d.OfSubject(subject)
		}
	}
	return true
}

// lookAt turns to a half hour of the subject, and reports whether it passes the filters.
func (v *view) lookAt(halfHour int32) bool {
	if v.halfHour == halfHour {
		return v.inside
	}
	v.halfHour, v.inside = halfHour, true
	for i := range v.cut.Filters {
		if f := &v.cut.Filters[i]; f.OfHalfHour != nil && v.inside {
			v.inside = f.passes(f.OfHalfHour(v.subject, halfHour)...)
		}
	}
	for i, d := range v.cut.Dimensions {
		if d.OfHalfHour != nil && v.inside {
			v.several[i] = d.OfHalfHour(v.subject, halfHour)
		}
	}
	return v.inside
}

// spread puts minutes of a half hour into the whole and into all cells whose values they have.
func (v *view) spread(use *useView, half uint8, m Mask, put func(CellKey, uint8, Mask)) {
	put(Whole, half, m)
	if len(v.cut.Dimensions) > 0 {
		v.spreadFrom(0, Whole, use, half, m, put)
	}
}

// spreadFrom is spread from a dimension on, into cells of which the values before are known.
func (v *view) spreadFrom(dimension int, key CellKey, use *useView, half uint8, m Mask, put func(CellKey, uint8, Mask)) {
	if dimension == len(v.cut.Dimensions) {
		put(key, half, m)
		return
	}
	on := func(value int64, m Mask) {
		if value != NoValue && m != 0 {
			key[dimension] = value
			v.spreadFrom(dimension+1, key, use, half, m, put)
		}
	}
	switch d := &v.cut.Dimensions[dimension]; {
	case d.OfTemplate != nil, d.OfUse != nil:
		on(use.values[dimension], m)
	case d.OfSubject != nil:
		on(v.values[dimension], m)
	case d.OfHalfHour != nil:
		for _, value := range v.several[dimension] {
			on(value, m)
		}
	default:
		for _, p := range v.portions[dimension][half] {
			on(p.value, m&p.mask)
		}
	}
}
