"""Real inputs, from packages that ship them: nothing is downloaded."""

import importlib
import inspect

import jax.numpy as jnp
import numpy as np

from truncax.command.closed_form import closed_form
from truncax.command.loss import random_weights

from .made import FACTORED, FULL, answered, sparse_problem
from .problems import Missing, Problem

NUMPY = ("linalg", "fft", "random", "ma")
SCIPY = (
    *("cluster.hierarchy", "fft", "integrate", "interpolate", "io", "linalg", "ndimage", "optimize", "signal"),
    *("sparse", "sparse.linalg", "sparse.csgraph", "spatial", "spatial.distance", "special", "stats"),
)
MODULES = ("numpy", *(f"numpy.{name}" for name in NUMPY), *(f"scipy.{name}" for name in SCIPY))


def need(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise Missing(f"needs {package}: {problem}") from None


def of_table(a, k, title):
    """A dense matrix of data, divided by its norm."""
    a = a / np.linalg.norm(a, 2)
    w = random_weights(a.shape, a.dtype, 0)
    exact = closed_form(a, w, k)
    s = exact.singular_values
    return Problem(title, k, a, (w,), s[:k], exact.gradient, FULL, float(s[k - 1] - s[k]))


def image(k):
    """A photograph in grey: the low-rank approximation of an image."""
    datasets = need("sklearn.datasets", "scikit-learn")
    need("PIL", "pillow")
    grey = datasets.load_sample_image("china.jpg").mean(axis=2)
    return of_table(grey, k, "image `china.jpg` (scikit-learn), {} x {}".format(*grey.shape))


def digits(k):
    """Handwritten digits, centred: the principal components. Three of the 64 pixels are never set."""
    data = need("sklearn.datasets", "scikit-learn").load_digits().data
    return of_table(data - data.mean(axis=0), k, "digits (scikit-learn), centred, {} x {}".format(*data.shape))


def docstrings():
    """What NumPy and SciPy say of themselves, each text once."""
    texts = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for x in [getattr(module, key, None) for key in sorted(getattr(module, "__all__", dir(module)))]:
            methods = [m for key, m in sorted(vars(x).items()) if key[0] != "_"] if inspect.isclass(x) else []
            texts |= {doc: None for one in (x, *methods) if (doc := inspect.getdoc(one))}
    return list(texts)


def text(k):
    """Documents against terms, weighted by tf-idf: latent semantic analysis."""
    extraction = need("sklearn.feature_extraction.text", "scikit-learn")
    terms = extraction.TfidfVectorizer(stop_words="english", min_df=2).fit_transform(docstrings())
    title = "text: docstrings of NumPy and SciPy by terms, {} x {}, sparse".format(*terms.shape)
    reason = dict.fromkeys(("jnp", "torch"), "a full decomposition of the dense copy takes a minute")
    return sparse_problem(terms, k, title, left_out=reason, depth=96)


def counties(k):
    """The map of the United States: counties that share points of their borders, by the weights of the edges.

    The leading eigenvectors of D^-1/2 A D^-1/2 are the spectral embedding of the graph.
    """
    import scipy.sparse
    from scipy.sparse.csgraph import connected_components

    data = need("bokeh_sampledata.us_counties", "bokeh_sampledata").data
    points, owners = [], []
    for i, key in enumerate(sorted(data)):
        border = np.stack([np.asarray(data[key][x], float) for x in ("lats", "lons")], axis=1)
        border = np.unique(np.round(border[np.isfinite(border).all(axis=1)], 4), axis=0)
        points.append(border)
        owners.append(np.full(len(border), i))
    owners = np.concatenate(owners)
    _, point = np.unique(np.concatenate(points), axis=0, return_inverse=True)
    meets = scipy.sparse.coo_array((np.ones(len(owners)), (owners, point.ravel()))).tocsr()
    graph = (meets @ meets.T).tocsr()
    _, label = connected_components(graph)
    largest = np.flatnonzero(label == np.bincount(label).argmax())
    upper = scipy.sparse.triu(graph[largest][:, largest], 1).tocoo()
    edges, n = np.stack(upper.coords, axis=1).astype(np.int32), len(largest)
    degree = np.bincount(edges.ravel(), minlength=n)
    weights = 1 / np.sqrt(degree[edges[:, 0]] * degree[edges[:, 1]])

    rng = np.random.default_rng(3)
    w, c = 1 + rng.uniform(0, 1, k), rng.standard_normal(n)
    problem = Problem(
        title=f"graph: {n} US counties and their {len(edges)} borders (bokeh_sampledata)",
        k=k,
        parameter=weights,
        weights=(w, c),
        values=np.empty(0),
        gradient=np.empty(0),
        reference=FACTORED,
        gap=0.0,
        which="LA",
        shape=(n, n),
        indices=np.concatenate([edges, edges[:, ::-1]]),
        entries=lambda weights: jnp.concatenate([weights, weights]),
        sigma=1.01,
        depth=192,
    )
    i, j = edges.T
    return answered(problem, lambda q, z: np.sum(z[i] * q[j] + q[i] * z[j] + 2 * w * q[i] * q[j], axis=1))
