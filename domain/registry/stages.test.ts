import { expect, test } from 'vitest';
import { SerinError } from '../errors.ts';
import { nextStage, STAGE_TRANSITIONS, STAGES, stagesAfter } from './stages.ts';
import type { StageCause } from './stages.ts';

const causes: readonly StageCause[] = ['shadowPassed', 'canaryPassed', 'replaced', 'rolledBack', 'restored'];

test('exactly the transitions of the table are allowed', () => {
  const allowed = STAGES.flatMap((from) =>
    STAGES.flatMap((to) =>
      causes
        .filter((cause) => {
          try {
            return nextStage(from, to, { subject: 'm v1', cause }) === to;
          } catch (error) {
            expect(error).toMatchObject({ code: 'STAGE_TRANSITION_REFUSED' });
            return false;
          }
        })
        .map((cause) => `${from} to ${to}: ${cause}`),
    ),
  );
  expect(allowed.toSorted()).toEqual(
    STAGE_TRANSITIONS.map(({ from, to, cause }) => `${from} to ${to}: ${cause}`).toSorted(),
  );
});

test('a version cannot jump over its canary', () => {
  const jump = () => nextStage('staging', 'production', { subject: 'late-arrival v2', cause: 'canaryPassed' });
  expect(jump).toThrow(SerinError);
  expect(jump).toThrow(
    'late-arrival v2 is in staging and cannot go to production because of "canaryPassed"; from staging it can go to candidate (shadowPassed), archived (rolledBack)',
  );
});

test('an archived version comes back only as the last known good one', () => {
  expect(stagesAfter('archived')).toEqual(['production']);
  expect(() => nextStage('archived', 'production', { subject: 'm v1', cause: 'canaryPassed' })).toThrow('restored');
});
