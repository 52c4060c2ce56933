package server

import (
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// privacyService is the PrivacyService.
type privacyService struct {
	insightsv1.UnimplementedPrivacyServiceServer

	store    *store.Store
	erasures *erasures
}

func newPrivacyService(s *store.Store, e *erasures) *privacyService {
	return &privacyService{store: s, erasures: e}
}
