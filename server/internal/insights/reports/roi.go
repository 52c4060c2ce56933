package reports

import (
	"cmp"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// ROI reports what was made of the workspaces: which part of the people who could use templates did, and which part of the time
// that workspaces ran somebody was active. Eligible are the people who could use any of the templates; those who did are added.
func ROI(use store.Use, eligible map[uuid.UUID]bool, running map[uuid.UUID]time.Duration) *insightsv1.ROIReport {
	report := &insightsv1.ROIReport{}
	// Whoever was active could be.
	of := map[uuid.UUID]*insightsv1.TemplateROI{}
	for _, t := range use.Templates {
		seconds := int64(running[t.ID] / time.Second)
		report.RunningSeconds += seconds
		of[t.ID] = &insightsv1.TemplateROI{
			TemplateId: t.ID.String(), Name: t.Name, DisplayName: cmp.Or(t.DisplayName, t.Name), Deleted: t.Deleted,
			RunningSeconds: seconds,
		}
	}
	for _, u := range use.Users {
		eligible[u.UserID] = true
		report.ActiveUsers++
		report.ActiveSeconds += 60 * u.Minutes
		for i, t := range u.Templates {
			if row := of[t]; row != nil {
				row.ActiveUsers++
				row.ActiveSeconds += 60 * u.MinutesIn[i]
			}
		}
	}
	report.EligibleUsers = int64(len(eligible))
	for _, t := range use.Templates {
		row := of[t.ID]
		if row.GetActiveUsers() > 0 {
			report.TemplateIds = append(report.TemplateIds, row.GetTemplateId())
		}
		if row.GetActiveUsers() > 0 || row.GetRunningSeconds() > 0 {
			row.Utilization = ratio(row.GetActiveSeconds(), row.GetRunningSeconds())
			report.Templates = append(report.Templates, row)
		}
	}
	label.Sort(report.GetTemplates(), (*insightsv1.TemplateROI).GetName)
	report.Adoption = ratio(report.GetActiveUsers(), report.GetEligibleUsers())
	report.Utilization = ratio(report.GetActiveSeconds(), report.GetRunningSeconds())
	return report
}

// ratio is a part of a whole; -1 without a whole.
func ratio(part, whole int64) float64 {
	if whole == 0 {
		return -1
	}
	return float64(part) / float64(whole)
}
