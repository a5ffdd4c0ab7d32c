/**
 * Why a feature has the value it has. Logged answers keep positions in this list: it is only ever added to at its end.
 *
 *   present    a value of events            null      of events that have none
 *   defaulted  the declared default         not_found nothing is known of the key
 *   expired    older than the view's TTL    deleted   a tombstone ended it
 */
export const FEATURE_STATUSES = ['present', 'null', 'defaulted', 'not_found', 'expired', 'deleted'] as const;
export type FeatureStatus = (typeof FEATURE_STATUSES)[number];
