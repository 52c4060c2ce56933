package admin

import (
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// Privacy is the PrivacyService.
type Privacy struct {
	insightsv1.UnimplementedPrivacyServiceServer

	store    *store.Store
	erasures *Erasures
}

// NewPrivacy is the PrivacyService.
func NewPrivacy(s *store.Store, e *Erasures) *Privacy {
	return &Privacy{store: s, erasures: e}
}
