/** Vitest's reporters do not name a test of a fast file that passed at its second try; this one does, at the end. */
export default class SecondTries {
  #names = [];

  onTestCaseResult(test) {
    const tries = test.diagnostic()?.retryCount ?? 0;
    if (tries > 0 && test.result().state === 'passed')
      this.#names.push(`${test.module.relativeModuleId} > ${test.fullName}`);
  }

  onTestRunEnd() {
    for (const name of this.#names) console.log(`passed at its second try, which is a bug to look at: ${name}`);
  }
}
