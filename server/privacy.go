package server

import (
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// privacyService is the PrivacyService.
type privacyService struct {
	insightsv1.UnimplementedPrivacyServiceServer

	store *store.Store
}

func newPrivacyService(s *store.Store) *privacyService { return &privacyService{store: s} }
