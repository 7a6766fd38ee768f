"""What a framework checks before it loads views of the merged arena. Pure; any thread."""
from starling._errors import client_error
from starling._layout import TensorSpec, require_same, spec_of

# Words that frameworks use for their dtypes -> safetensors names.
WORDS = {"float64": "F64", "int64": "I64", "uint64": "U64", "float32": "F32", "int32": "I32", "uint32": "U32",
         "float16": "F16", "bfloat16": "BF16", "int16": "I16", "uint16": "U16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}


def dtype_of_word(name, word):
    """The safetensors name of a framework's dtype such as "float32". SwarmError naming the tensor `name`."""
    if word not in WORDS:
        raise client_error("bad-tensor", "parameter %s: dtype %s cannot be shared" % (name, word), "use one of " + ", ".join(WORDS))
    return WORDS[word]


def require_views(have, views):
    """SwarmError that names every missing, unknown and differing tensor, unless `views` (name -> array) fit a model that has
    `have` (name -> (dtype, shape)). uint16 words stand for BF16 too."""
    model = {name: TensorSpec(name, dtype, tuple(shape)) for name, (dtype, shape) in have.items()}
    given = {name: spec_of(name, view) for name, view in views.items()}
    for name, spec in given.items():
        if spec.dtype == "U16" and name in model and model[name].dtype == "BF16":
            given[name] = spec._replace(dtype="BF16")
    require_same(given, model, "the merged model does not fit this program's")
