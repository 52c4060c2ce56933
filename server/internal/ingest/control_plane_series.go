package ingest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// series checks a series against its family and the caller's grant.
func (k eventParents) series(
	caller access.Principal, m *insightsv1.Metric, now time.Time,
) (s store.ControlPlaneSeries, rejected *rejection) {
	f, suffix := exposition.ControlPlaneFamily(m.GetName())
	if f == nil {
		return s, invalidItem("name: family %q is none of the control plane", call.Shorten(m.GetName()))
	}
	if m.GetType() != string(f.Kind) {
		return s, invalidItem("type: family %s is a %s", f.Name, f.Kind)
	}
	if v := m.GetValue(); math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && f.Kind != exposition.GaugeFamily {
		return s, invalidItem("value: must be a finite number, and only that of a gauge may be negative")
	}
	names := f.Labels
	if suffix == exposition.BucketSuffix {
		names = append(slices.Clone(names), exposition.BoundLabel)
	}
	given := slices.Collect(maps.Keys(m.GetLabels()))
	if slices.Sort(given); !slices.Equal(given, slices.Sorted(slices.Values(names))) {
		return s, invalidItem("labels: series %s has the labels %v", m.GetName(), names)
	}
	labels := maps.Clone(m.GetLabels())
	for _, name := range names {
		if err := call.CheckText(labels[name]); err != nil {
			return s, invalidItem("labels.%s: %v", name, err)
		}
	}
	if suffix == exposition.BucketSuffix {
		bound, err := strconv.ParseFloat(labels[exposition.BoundLabel], 64)
		if err != nil || math.IsNaN(bound) {
			return s, invalidItem("labels.%s: must be a number or +Inf", exposition.BoundLabel)
		}
		labels[exposition.BoundLabel] = strconv.FormatFloat(bound, 'g', -1, 64) // one text for one bound
	}
	if rejected := k.mayReport(caller, f, labels[exposition.OrganizationLabel]); rejected != nil {
		return s, rejected
	}
	text, err := json.Marshal(labels) // in the order of the names
	if err != nil {
		return s, invalidItem("labels: %v", err)
	}
	return store.ControlPlaneSeries{Name: m.GetName(), Labels: string(text), Value: m.GetValue(), ReportedAt: store.At(now)}, nil
}

// mayReport says why a caller may not report a family, for an organization if it has organizations.
func (k eventParents) mayReport(caller access.Principal, f *exposition.Family, organization string) *rejection {
	if !slices.Contains(f.Labels, exposition.OrganizationLabel) {
		if !caller.HoldsEverywhere(access.IngestAny) {
			return invalidItem("name: family %s is about the whole deployment, and the caller's grant is not", f.Name)
		}
		return nil
	}
	for id, name := range k.organizations {
		if name == organization && caller.HoldsIn(access.IngestAny, id) {
			return nil
		}
	}
	return &rejection{
		causeUnknown, fmt.Sprintf("labels.%s: organization %q is not in the catalog", exposition.OrganizationLabel, organization), false,
	}
}
