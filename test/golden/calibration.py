"""Makes calibration.json: what scikit-learn and SciPy fit to the same scores and labels.

pip install scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
python3 test/golden/calibration.py > test/golden/calibration.json
"""
import json

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, xlogy
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression

PROBES = [0.0, 1e-9, 0.001, 0.05, 0.1, 0.2, 0.25, 0.31, 0.5, 0.625, 0.7, 0.9, 0.999, 1.0]


def logit(p):
    p = np.clip(p, 1e-12, 1 - 2.0**-25)
    return np.log(p) - np.log1p(-p)


def platt(y, scores, probes):
    """Lin, Lin & Weng's objective, minimised anew; scikit-learn's own A and B of p = 1/(1 + exp(A f + B)) beside it."""
    z, positives, negatives = logit(scores), y.sum(), (1 - y).sum()
    t = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = np.column_stack([z, np.ones_like(z)])
    loss = lambda w: np.sum(np.logaddexp(0, x @ w) - t * (x @ w))
    grad = lambda w: x.T @ (expit(x @ w) - t)
    hess = lambda w: (x * (expit(x @ w) * expit(-(x @ w)))[:, None]).T @ x
    slope, intercept = minimize(loss, [1.0, 0.0], method='trust-exact', jac=grad, hess=hess, options={'gtol': 1e-12}).x
    a, b = _sigmoid_calibration(z, y)
    return {
        'slope': slope,
        'intercept': intercept,
        'sklearnSlope': -a,
        'sklearnIntercept': -b,
        'probabilities': expit(slope * logit(probes) + intercept).tolist(),
    }


def isotonic(y, scores, probes):
    n = len(y)
    model = IsotonicRegression(y_min=1 / (n + 2), y_max=(n + 1) / (n + 2), out_of_bounds='clip').fit(scores, y)
    return {
        'scores': model.X_thresholds_.tolist(),
        'thresholds': model.y_thresholds_.tolist(),
        'probabilities': model.predict(probes).tolist(),
    }


def temperature(y, scores, probes):
    z = logit(scores)
    beta = brentq(lambda b: np.sum((y - expit(b * z)) * z), 0.01, 100, xtol=1e-15, rtol=1e-15)
    return {'temperature': 1 / beta, 'probabilities': expit(beta * logit(probes)).tolist()}


def case(name, seed, rows, stretch, shift, digits):
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1.5, rows)
    y = (rng.random(rows) < expit(truth)).astype(int)
    scores = np.round(expit(stretch * truth + shift), digits)
    probes = np.array(PROBES)
    fits = {'platt': platt, 'isotonic': isotonic, 'temperature': temperature}
    return {
        'name': name,
        'y': y.tolist(),
        'scores': scores.tolist(),
        **{method: fit(y, scores, probes) for method, fit in fits.items()},
    }


print(
    json.dumps(
        {
            'probes': PROBES,
            'cases': [
                case('too sure', 1, 240, 2.5, 0.0, 6),
                case('too shy, and too high', 2, 240, 0.4, 0.8, 6),
                case('many ties, with scores of 0 and 1', 3, 240, 2.0, 0.5, 1),
            ],
        },
        separators=(',', ':'),
    )
)
