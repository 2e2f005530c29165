"""Pictures of a live graph and of a model: SVG, and Figures of matplotlib, which is imported when one is drawn."""

from minibert.debug.pictures.attention_maps import attention_maps
from minibert.debug.pictures.gradient_flow import gradient_flow
from minibert.debug.pictures.graph_svg import GraphPicture, draw_graph

__all__ = ["GraphPicture", "attention_maps", "draw_graph", "gradient_flow"]
