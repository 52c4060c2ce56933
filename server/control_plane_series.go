package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// series checks a series against its family and the caller's grant.
func (k eventParents) series(caller access.Principal, m *insightsv1.Metric, now time.Time) (s store.ControlPlaneSeries, rejected *rejection) {
	f, suffix := controlPlaneFamily(m.GetName())
	if f == nil {
		return s, invalidItem("name: family %q is none of the control plane", shorten(m.GetName()))
	}
	if m.GetType() != string(f.kind) {
		return s, invalidItem("type: family %s is a %s", f.name, f.kind)
	}
	if v := m.GetValue(); math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && f.kind != gaugeFamily {
		return s, invalidItem("value: must be a finite number, and only that of a gauge may be negative")
	}
	names := f.labels
	if suffix == bucketSuffix {
		names = append(slices.Clone(names), boundLabel)
	}
	given := slices.Collect(maps.Keys(m.GetLabels()))
	if slices.Sort(given); !slices.Equal(given, slices.Sorted(slices.Values(names))) {
		return s, invalidItem("labels: series %s has the labels %v", m.GetName(), names)
	}
	labels := maps.Clone(m.GetLabels())
	for _, name := range names {
		if err := checkText(labels[name]); err != nil {
			return s, invalidItem("labels.%s: %v", name, err)
		}
	}
	if suffix == bucketSuffix {
		bound, err := strconv.ParseFloat(labels[boundLabel], 64)
		if err != nil || math.IsNaN(bound) {
			return s, invalidItem("labels.%s: must be a number or +Inf", boundLabel)
		}
		labels[boundLabel] = strconv.FormatFloat(bound, 'g', -1, 64) // one text for one bound
	}
	if rejected := k.mayReport(caller, f, labels[organizationLabel]); rejected != nil {
		return s, rejected
	}
	text, err := json.Marshal(labels) // in the order of the names
	if err != nil {
		return s, invalidItem("labels: %v", err)
	}
	return store.ControlPlaneSeries{Name: m.GetName(), Labels: string(text), Value: m.GetValue(), ReportedAt: store.At(now)}, nil
}

// mayReport says why a caller may not report a family, for an organization if it has organizations.
func (k eventParents) mayReport(caller access.Principal, f *family, organization string) *rejection {
	if !slices.Contains(f.labels, organizationLabel) {
		if !caller.HoldsEverywhere(access.IngestAny) {
			return invalidItem("name: family %s is about the whole deployment, and the caller's grant is not", f.name)
		}
		return nil
	}
	for id, name := range k.organizations {
		if name == organization && caller.HoldsIn(access.IngestAny, id) {
			return nil
		}
	}
	return &rejection{causeUnknown, fmt.Sprintf("labels.%s: organization %q is not in the catalog", organizationLabel, organization), false}
}
