"""The public names and where they live: read by type checkers, and by `__init__.py`."""

# isort: skip_file
from mlpx import errors as errors
from mlpx.backend import (
    Backend as Backend,
    array_backend as array_backend,
    get_backend as get_backend,
)
from mlpx.estimators import MLPClassifier as MLPClassifier, MLPRegressor as MLPRegressor
from mlpx.kernels.penalties import L1 as L1, L2 as L2, ElasticNet as ElasticNet, Penalty as Penalty
from mlpx.layers import (
    ActivationLayer as ActivationLayer,
    AlphaDropout as AlphaDropout,
    BatchNorm as BatchNorm,
    Dense as Dense,
    Dropout as Dropout,
    Embedding as Embedding,
    GaussianNoise as GaussianNoise,
    Layer as Layer,
    LayerNorm as LayerNorm,
    PeriodicEmbedding as PeriodicEmbedding,
    PiecewiseLinearEmbedding as PiecewiseLinearEmbedding,
    ParametricActivation as ParametricActivation,
    Rescale as Rescale,
    Residual as Residual,
    RMSNorm as RMSNorm,
    Scale as Scale,
)
from mlpx.mlp import MLP as MLP
from mlpx.network.from_data import initialise_by_data as initialise_by_data
from mlpx.optimizers import (
    EMA as EMA,
    LAMB as LAMB,
    LBFGS as LBFGS,
    SGD as SGD,
    SWA as SWA,
    AdaDelta as AdaDelta,
    AdaGrad as AdaGrad,
    Adam as Adam,
    Adamax as Adamax,
    AdamW as AdamW,
    AMSGrad as AMSGrad,
    Lion as Lion,
    Momentum as Momentum,
    Muon as Muon,
    NAdam as NAdam,
    Nesterov as Nesterov,
    Optimizer as Optimizer,
    RAdam as RAdam,
    RMSProp as RMSProp,
)
from mlpx.schedules import Schedule as Schedule
from mlpx.training.callbacks import (
    BestWeights as BestWeights,
    CSVLog as CSVLog,
    EarlyStopping as EarlyStopping,
    StopOnPlateau as StopOnPlateau,
)
from mlpx.training.checkpoints import Checkpoints as Checkpoints
from mlpx.training.history import History as History
from mlpx.training.rate_finder import find_learning_rate as find_learning_rate
from mlpx.training.run import Callback as Callback

__version__: str
